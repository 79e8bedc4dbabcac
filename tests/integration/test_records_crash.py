"""Workers that are killed in the middle of their batches lose no write, do none twice, and keep the order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import uuid_utils

from jobs.record_write import WriteRecord
from tests.house import SECRET, TestHouse, until
from tests.integration.test_records_once import post

WRITES, KEYS = 6_000, 10


@contextlib.contextmanager
def worker_process(house: TestHouse) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as production starts it, in a process group of its own."""
    environment = {
        **os.environ,
        "REDIS_URL": house.settings.redis_url,
        "DATABASE_URL": house.database_url,
        "KEY_PREFIX": house.settings.key_prefix,
        "BACKROOM_SECRET": SECRET,
        "LEASE_MS": "1000",
    }
    command = [sys.executable, "-m", "dramatiq", "workers:boot", "--processes", "1", "--threads", "2"]
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.mark.chaos
def test_killed_workers_lose_nothing_double_nothing_and_keep_the_order(house: TestHouse) -> None:
    owner = house.owner()

    def written() -> int:
        return owner.execute("SELECT count(*) FROM record_operations").fetchone()[0]

    post(
        house,
        *(
            WriteRecord(
                app=house.app.id,
                op=str(uuid_utils.uuid7()),
                collection="log",
                key=str(number % KEYS),
                value={"n": number},
            )
            for number in range(WRITES)
        ),
    )

    kills = 0
    for mark in (1, WRITES // 4, WRITES // 2):
        with worker_process(house):
            until(lambda mark=mark: written() >= mark)
            kills += 1
    with worker_process(house):
        until(lambda: written() == WRITES)

    found = owner.execute("SELECT key, version, value->>'n' FROM records ORDER BY key").fetchall()
    assert kills == 3
    assert found == [(str(key), WRITES // KEYS, str(WRITES - KEYS + key)) for key in range(KEYS)]
    assert house.queues().dead() == []
