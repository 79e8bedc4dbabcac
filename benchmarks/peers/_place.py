"""What a peer is told, and what it must be able to do. Only the standard library: every environment reads this."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

VARIABLE = "BACKROOM_BENCH_PLACE"


@dataclass(frozen=True, kw_only=True)
class Side:
    """A peer with the settings it is measured with.

    Attributes:
        name: As the table shows it.
        jobs: How many keep one process of it busy for about a second; this sizes a turn and no more.
        threads: How many jobs a process runs at once, by threads or on an event loop.
        forks: Whether it is one program that starts its own processes.
        rank: In a quick run everybody of rank 0 has a turn, the others in this order while there is time.
    """

    name: str
    jobs: int
    threads: int = 8
    forks: bool = False
    rank: int = 4


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process of a peer finds itself.

    Attributes:
        side: The name of the side that it belongs to.
        valkey: The engine's address.
        postgres: The other engine's address; empty where there is none.
        tally: The folder in which its jobs count themselves.
        processes: How many processes work.
        threads: How many jobs each of them runs at once.
        durable: Whether every accepted job has to be on disk.
    """

    side: str
    valkey: str
    postgres: str
    tally: str
    processes: int
    threads: int
    durable: bool

    def environ(self) -> dict[str, str]:
        """How a process is told: not on its command line, which shows an address to the whole machine."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def here(cls) -> Place:
        """The place of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))


class Peer(Protocol):
    """One queue, as a sender and as a worker use it. Jobs: `nothing`, `call`, `pick_up`, each with one number.

    A peer with a bulk call has `many(job, numbers)`; one that is asked for delayed jobs has `later(job, count, due)`.
    """

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Send one by one, each when the one before is accepted."""

    def work(self) -> None:
        """Run jobs until SIGTERM."""
