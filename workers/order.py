"""What a supervisor and its worker processes tell each other."""

from __future__ import annotations

import signal
from datetime import timedelta

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process is told when it starts.

    Attributes:
        name: What it is called at the queue; nobody has ever been called the same.
        supervisor: The process that started it.
        pipe: Where it writes its beats.
        threads: How many jobs it runs at once.
        queues: The only queues it works on; empty for all.
        stop_within: How long jobs may go on after its supervisor has gone.
        grace: How far a job may run over its time limit before it is stuck.
    """

    name: str
    supervisor: int
    pipe: int
    threads: int
    queues: tuple[str, ...]
    stop_within: timedelta
    grace: timedelta


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """A sign of life. It tells how things stand, not what has changed, so one may get lost.

    Attributes:
        ready: Whether it takes messages, or has done so.
        done: How many messages it has finished with.
        stuck: Whether a job runs far over its time limit.
        fresh_mib: How much memory it took before its first job.
    """

    ready: bool
    done: int
    stuck: bool
    fresh_mib: int


def pack(value: Order | Beat) -> bytes:
    """As JSON, on one line."""
    return msgspec.json.encode(value)


def outcome(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    # Of the real-time signals only two have a name.
    return next((number.name for number in signal.Signals if number == -code), f"signal {-code}")


read_order = msgspec.json.Decoder(Order).decode
read_beat = msgspec.json.Decoder(Beat).decode
