"""A stop of the engine room's whole process group reaches each process, some twice, and is still one stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import SECRET, TestHouse, until


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
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        until(lambda: house.queues().workers(), what="the worker has reported for work")
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_a_group_that_is_told_to_stop_ends_in_order(worker, house, tmp_path):
    os.killpg(worker.pid, signal.SIGTERM)

    assert worker.wait(30) == 0, (tmp_path / "log").read_text(encoding="utf-8")
    assert not house.queues().workers(), "it took leave, rather than being missed"
