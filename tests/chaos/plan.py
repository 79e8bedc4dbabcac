"""What happens to a run and when: drawn from a seed, so that the same disaster can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Run = Literal["kills", "calm", "full disk"]
Kind = Literal[
    "kill worker",
    "kill sender",
    "kill valkey",
    "restart postgres",
    "stall worker",
    "stall valkey",
    "cut",
    "lose reply",
    "slow line",
    "silent line",
    "step clock",
    "fill disk",
]
# Where the workers live long: nothing of these may happen, for a killed worker frees what it has stranded.
KILLS: tuple[Kind, ...] = ("kill worker", "stall worker")
# The first and the last part of a run are without faults: there is nothing to break yet, or any more.
FROM, UNTIL = 0.06, 0.94


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large a run is.

    Attributes:
        jobs: How many.
        kills: Workers killed.
        engine_kills: How often Valkey is killed.
        span: Seconds over which the jobs are sent.
        lease: Seconds after which a silent worker is taken for dead.
        workers: Processes.
        threads: Of each.
        senders: Processes.
        patience: Seconds to wait at most for what is left when all is sent.
        resumed_within: Seconds within which what a killed worker held has to run again.
    """

    jobs: int
    kills: int
    engine_kills: int
    span: float
    lease: float
    workers: int = 3
    threads: int = 4
    senders: int = 2
    patience: float = 120.0
    resumed_within: float = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One disaster.

    Attributes:
        at: Seconds after the beginning.
        kind: Which.
        chance: A number in [0, 1) that decides whom it meets, and how hard.
    """

    at: float
    kind: Kind
    chance: float


def plan(run: Run, size: Size, *, seed: int) -> list[Fault]:
    """The faults of a run, in their order."""
    chance = random.Random(f"{seed} {run}")
    if run == "full disk":
        return [Fault(at=0.5 * size.span, kind="fill disk", chance=chance.random())]
    some = max(1, size.kills // 5)
    count: dict[Kind, int] = {
        "kill worker": size.kills,
        "kill sender": some,
        "kill valkey": size.engine_kills,
        "restart postgres": max(1, size.engine_kills // 2),
        "stall worker": max(1, size.kills // 15),
        # Longer than a client waits for an answer; too long for a short run.
        "stall valkey": int(size.kills >= 10),
        "cut": some,
        "lose reply": 2 * some,
        "slow line": some,
        "silent line": int(size.kills >= 10),
        "step clock": some,
    }
    faults = []
    for kind, times in count.items():
        if run == "calm" and kind in KILLS:
            continue
        # One in each stretch of the run, at any moment of it: spread, yet not regular.
        for number in range(times):
            at = (number + chance.random()) / times
            faults.append(Fault(at=size.span * (FROM + (UNTIL - FROM) * at), kind=kind, chance=chance.random()))
    return sorted(faults, key=lambda fault: fault.at)
