"""Everything that the queue's benchmark has found, before it is figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from benchmarks._queue_turns import Delayed, Turn

Fsync = Literal["always", "everysec"]
Turns = dict[str, list[Turn]]


@dataclass(kw_only=True)
class Found:
    """By side, and by how Valkey keeps what it accepts.

    Attributes:
        one: One process, jobs that do nothing.
        two: Two processes, jobs with one call of Valkey.
        senders: Messages a second for one caller and for a crowd, in each round.
        rows: Rows a second that jobs write one at a time and in batches, in each round.
        delayed: What delayed jobs cost.
        ceiling: Commands a second of the engine alone, in each round.
    """

    one: dict[Fsync, Turns] = field(default_factory=dict)
    two: dict[Fsync, Turns] = field(default_factory=dict)
    senders: list[tuple[float, float]] = field(default_factory=list)
    rows: list[tuple[float, float]] = field(default_factory=list)
    delayed: dict[str, Delayed] = field(default_factory=dict)
    ceiling: dict[str, list[float]] = field(default_factory=dict)
