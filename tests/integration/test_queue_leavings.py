"""What is over leaves nothing behind that is counted, promoted, or kept for ever."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.running import Running
from backroom.queue.sender import Sender
from backroom.queue.wire import OneOfAKind
from tests.integration.queue_engine import Engine, post, running, until

HOUR = timedelta(hours=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path) as engine:
        yield engine


@pytest.fixture
def sender(engine: Engine) -> Iterator[Sender]:
    with open_client(engine.url) as client:
        yield Sender(client, prefix="br")


@pytest.fixture
def queues(engine: Engine) -> Iterator[Queues]:
    with open_client(engine.url) as client:
        yield Queues(client, prefix="br")


def test_what_was_replaced_does_not_go_on_waiting_for_its_time(sender: Sender, queues: Queues):
    one = OneOfAKind(key="index/7", mode="r", replace=True)

    for n in range(5):
        sender.send([post("note", n, unique=one, delay=HOUR)])

    assert queues.depths()["work"].delayed == 1
