"""The engine room as the Procfile starts it: it works, stops when told, and leaves no orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.house import SECRET, TestHouse, until

pytestmark = pytest.mark.e2e


@pytest.fixture
def worker(house: TestHouse, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        **os.environ,
        "REDIS_URL": house.settings.redis_url,
        "DATABASE_URL": house.settings.database_url,
        "KEY_PREFIX": house.settings.key_prefix,
        "BACKROOM_SECRET": SECRET,
    }
    command = [str(Path(sys.executable).with_name("dramatiq")), "workers:boot", "--processes", "1", "--threads", "2"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        until(lambda: house.queues().workers(), what="the worker has reported for work")
        yield process
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def test_a_worker_whose_supervisor_is_killed_stops_too(worker, house):
    children = psutil.Process(worker.pid).children(recursive=True)
    assert children

    os.kill(worker.pid, signal.SIGKILL)

    until(lambda: not any(child.is_running() for child in children), what="no orphan is left")
    assert not house.queues().workers(), "it took leave, rather than being missed"


def test_a_worker_that_is_told_to_stop_takes_leave(worker, house):
    worker.terminate()

    assert worker.wait(30) == 0
    assert not house.queues().workers()
