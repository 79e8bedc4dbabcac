"""What the queue's tests begin with: an engine of the test's own, and the two ends that most of them use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A Valkey that may be killed."""
    with running(tmp_path) as engine:
        yield engine


@pytest.fixture
def sender(engine: Engine) -> Iterator[Sender]:
    """Puts messages on its queues."""
    with open_client(engine.url) as client:
        yield Sender(client, prefix="br")


@pytest.fixture
def queues(engine: Engine) -> Iterator[Queues]:
    """Looks at its queues."""
    with open_client(engine.url) as client:
        yield Queues(client, prefix="br")


@pytest.fixture
def broker(engine: Engine) -> Iterator[ValkeyBroker]:
    """A Dramatiq program's own."""
    broker = ValkeyBroker(engine.url, prefix=engine.prefix)
    yield broker
    broker.close()
