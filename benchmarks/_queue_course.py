"""The course of the queue's benchmark: whose turn it is when, and what is left out for want of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from benchmarks._queue_crew import Ground, Party, Stuck
from benchmarks._queue_found import Fsync, Turns
from benchmarks._queue_turns import QUICK, WHOLE, Turn, Wounded, play
from benchmarks.frame.plan import Plan
from benchmarks.frame.turns import Side, take_turns

T = TypeVar("T")

CROWD_ROUNDS = 5
# What comes after the rounds is short; a peer or two can have some of that time.
LATE = timedelta(seconds=6)


@dataclass(kw_only=True)
class Course:
    """One run through all stages.

    Attributes:
        plan: What was asked for.
        parties: Who takes part from the start.
        late: Who does where time is left.
        grounds: Where, for each way of keeping what is accepted.
        wounded: Who got stuck.
        began: When.
        lasted: How many seconds the last turn took: about what a latecomer's would take.
    """

    plan: Plan
    parties: list[Party]
    late: list[Party]
    grounds: dict[Fsync, Ground]
    wounded: Wounded = field(default_factory=Wounded)
    began: float = field(default_factory=time.monotonic)
    lasted: float = 3.0

    def party(self, name: str) -> Party:
        """The one of this name."""
        return next(party for party in self.parties if party.name == name)

    def stage(
        self, fsync: Fsync, *, part: float, job: str, processes: int, looks: Callable[[Party], bool] = lambda _: False
    ) -> Turns:
        """All sides, in turns."""
        size = QUICK if self.plan.quick else WHOLE
        sides: list[Side[Turn | None]] = []
        for party in self.parties:
            turn = partial(
                self.play, party, self.grounds[fsync], size, job=job, processes=processes, looks=looks(party)
            )
            sides.append(Side(name=party.name, turn=self.wounded.guard(party.name, turn)))
        turns = take_turns(sides, self._share(part))
        return {
            name: found for name, them in turns.items() if len(found := [turn for turn in them if turn]) == len(them)
        }

    def play(self, *what: Any, **how: Any) -> Turn:
        """A turn, if a quick run still has time for it."""
        self.hurry()
        began = time.monotonic()
        turn = play(*what, **how)
        self.lasted = time.monotonic() - began
        return turn

    def hurry(self) -> None:
        """Leave out what a quick run has no time for, on a machine that is busy.

        Raises:
            Stuck: It is too late.
        """
        if self.plan.quick and time.monotonic() > self.plan.rounds_end:
            raise Stuck("no time is left in a quick run")

    def part(self, name: str, measure: Callable[[], None]) -> None:
        """Something beside the sides' turns. Where it gets stuck, or there is no time, the rest goes on."""
        with self.wounded.told(name):
            self.hurry()
            self.plan.tell(name)
            measure()

    def crowd(self, name: str, turn: Callable[[], T]) -> list[T]:
        """One measurement, a few times."""
        rounds = 1 if self.plan.quick else CROWD_ROUNDS
        return take_turns([Side(name=name, turn=turn)], replace(self.plan, rounds=rounds, rounds_end=math.inf))[name]

    def latecomers(self, turns: Turns) -> str | None:
        """A turn for each that is late, while there is time for another; and what to say of the rest."""
        longest = self.lasted
        waiting = list(self.late)
        while waiting and time.monotonic() + longest < self.plan.rounds_end + LATE.total_seconds():
            began, party = time.monotonic(), waiting.pop(0)
            turn = partial(play, party, self.grounds["always"], QUICK, job="call", processes=2, looks=False)
            played = self.wounded.guard(party.name, turn)()
            if played:
                turns[party.name] = [played]
            longest = max(longest, time.monotonic() - began)
        return f"no time in a quick run for {', '.join(party.name for party in waiting)}" if waiting else None

    def _share(self, part: float) -> Plan:
        now = time.monotonic()
        if self.plan.quick:
            return replace(self.plan, rounds=1)
        return replace(self.plan, rounds_end=now + part * (self.plan.rounds_end - self.began))
