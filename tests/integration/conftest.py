"""What several files of tests begin with: an engine of the test's own, the two ends of a queue, a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from scripts.screenshot import FLAGS, browser
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


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """A browser, or a reason why there is none.

    For one test only: as long as it is open this thread counts as one with a running event loop.
    """
    executable = browser()
    if executable is None:
        missing = "no Chromium on PATH: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        yield chromium
        chromium.close()
