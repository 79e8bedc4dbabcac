"""A process that sends a share of the jobs, and notes on the disk which ones were accepted.

It goes on where its note ends, so it may be killed and started again: what was accepted and not noted is sent once
more, under the same id.

Usage: python -m tests.chaos.sender '{"arm": …}'
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos import clock

AT_ONCE = 20


def main(text: str) -> None:
    order = json.loads(text)
    clock.install(Path(order["clock"]))

    from tests.chaos.jobs import numbers_of

    send = _ours(order) if order["arm"] == "ours" else _stock(order)
    noted = Path(order["log"])
    numbers = numbers_of(order["sender"], senders=order["senders"], jobs=order["jobs"])
    rest = numbers[len(accepted(noted)) :]
    out = os.open(noted, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    # What a dead one has begun to write must not run into what we write.
    os.write(out, b"\n")
    began = _wait_for_beginning(Path(order["go"]))
    for at in range(0, len(rest), AT_ONCE):
        # Spread over the run, so that there is work whenever something is killed.
        share = (len(numbers) - len(rest) + at) / len(numbers)
        time.sleep(max(0.0, began + share * order["span"] - time.monotonic()))
        group = rest[at : at + AT_ONCE]
        send(group)
        os.write(out, f"{' '.join(map(str, group))} ok\n".encode())
        os.fsync(out)


def accepted(log: Path) -> list[int]:
    """The numbers that were noted as accepted; a torn line is none."""
    if not log.exists():
        return []
    lines = log.read_text().split("\n")[:-1]
    return [int(n) for line in lines if line.endswith(" ok") for n in line.split()[:-1]]


def _wait_for_beginning(go: Path) -> float:
    """All begin together, as soon as the last one is up; when that was, by the clock that nobody can set."""
    while not go.exists():
        time.sleep(0.01)
    return float(go.read_text())


def _ours(order: dict) -> Callable[[Sequence[int]], None]:
    from backroom.domain.errors import Full, QueueAway
    from backroom.queue.open import open_client
    from backroom.queue.sender import Sender
    from tests.chaos.jobs import Job

    sender = Sender(open_client(order["valkey"]), prefix=order["prefix"])

    def send(group: Sequence[int]) -> None:
        posts = [Job(n=n).post() for n in group]
        while True:
            try:
                sender.send(posts)
            except (QueueAway, Full):
                time.sleep(0.05)
            else:
                return

    return send


def _stock(order: dict) -> Callable[[Sequence[int]], None]:
    import redis
    from dramatiq.brokers.redis import RedisBroker

    from tests.chaos.jobs import QUEUES, Job

    broker = RedisBroker(client=redis.Redis.from_url(order["valkey"]), namespace=order["prefix"])
    for queue in QUEUES:
        broker.declare_queue(queue)

    def send(group: Sequence[int]) -> None:
        for n in group:
            job = Job(n=n)
            delay = round(job.delay.total_seconds() * 1000) or None
            while True:
                try:
                    broker.enqueue(job.message(), delay=delay)
                except (redis.RedisError, OSError):
                    time.sleep(0.05)
                else:
                    break

    return send


if __name__ == "__main__":
    main(sys.argv[1])
