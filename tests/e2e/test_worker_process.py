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
def starting(house: TestHouse, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Dramatiq's supervisor, which has only just begun."""
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
        yield process
        if process.poll() is None:
            process.terminate()
        process.wait(30)


@pytest.fixture
def worker(starting: subprocess.Popen[bytes], house: TestHouse) -> subprocess.Popen[bytes]:
    until(lambda: house.queues().workers(), what="the worker has reported for work")
    return starting


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_a_worker_whose_supervisor_is_killed_stops_too(worker, house):
    children = psutil.Process(worker.pid).children(recursive=True)
    assert children

    os.kill(worker.pid, signal.SIGKILL)

    until(lambda: gone(children), within=60, what="no orphan is left")
    assert not house.queues().workers(), "it took leave, rather than being missed"


def test_a_worker_that_is_told_to_stop_takes_leave(worker, house):
    worker.terminate()

    assert worker.wait(30) == 0
    assert not house.queues().workers()


def test_a_worker_whose_supervisor_is_killed_while_it_starts_never_begins(starting, house):
    children = until(lambda: psutil.Process(starting.pid).children(recursive=True), what="there is a worker")

    os.kill(starting.pid, signal.SIGKILL)

    until(lambda: gone(children), within=60, what="no orphan is left")
    assert not house.queues().workers()


def test_a_worker_that_waits_for_a_supervisor_that_was_killed_stops_too(starting, house):
    children = until(lambda: psutil.Process(starting.pid).children(recursive=True), what="there is a worker")
    until(lambda: any(child.cpu_times().user > 0.3 for child in children), what="its supervisor waits for it")
    # It sleeps through the moment in which the worker says that it has started.
    os.kill(starting.pid, signal.SIGSTOP)
    until(lambda: house.queues().workers(), what="the worker has reported for work")

    os.kill(starting.pid, signal.SIGKILL)

    until(lambda: gone(children), within=60, what="no orphan is left")
    assert not house.queues().workers(), "it took leave, rather than being missed"
