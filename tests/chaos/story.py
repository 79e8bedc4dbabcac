"""One run from its beginning to its verdict: send, work, break things as planned, wait for the rest, count."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg
import redis

from tests.chaos import audit
from tests.chaos.audit import Fallen, Verdict
from tests.chaos.jobs import Arm
from tests.chaos.plan import Fault, Run, Size, plan
from tests.chaos.stage import Stage, home, until

TICK = 0.1
# How often it is told how far the run is.
TOLD_EVERY = 0.5
CLOCK_STEPS = (-120.0, 120.0, 90.0, 3600.0, -3600.0)

Tell = Callable[[int, int, str], None]


def play(arm: Arm, run: Run, size: Size, *, seed: int, tell: Tell) -> Verdict:
    """Play one run.

    Args:
        arm: Whose queue.
        run: Which disaster.
        size: How large.
        seed: Of the plan.
        tell: Told how many are accepted, how many done, and what has happened last.

    Raises:
        PermissionError: A full disk cannot be had here.
    """
    with home(small_disk=run == "full disk") as folder:
        stage = Stage(folder, arm=arm, size=size)
        try:
            stage.open()
            return Story(stage, run, tell=tell).play(plan(run, size, seed=seed))
        finally:
            stage.close()


class Story:
    """A run under way."""

    def __init__(self, stage: Stage, run: Run, *, tell: Tell) -> None:
        self._stage = stage
        self._run = run
        self._tell_somebody = tell
        self._names: dict[int, str] = {}
        self._fallen: list[Fallen] = []
        self._faults: Counter[str] = Counter()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._told = self._began = 0.0
        self._last = ""
        self._connection: psycopg.Connection[Any] | None = None

    def play(self, faults: list[Fault]) -> Verdict:
        stage, size = self._stage, self._stage.size
        for number in range(size.workers):
            self._hire(number)
        until(lambda: all(map(stage.is_up, self._names.values())), within=60, what="the workers are up")
        for number in range(size.senders):
            stage.begin_to_send(number)
        self._began = stage.go()
        for fault in faults:
            self._later(fault.at, lambda fault=fault: self._strike(fault))
        deadline = size.span * 3 + size.patience
        self._go_on(lambda: not self._agenda and self._all_sent(), within=deadline)
        self._go_on(self._all_done, within=size.patience)
        return self._verdict()

    # -- time

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _later(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), what))

    def _go_on(self, over: Callable[[], bool], *, within: float) -> None:
        deadline = self._now() + within
        while not over() and self._now() < deadline:
            while self._agenda and self._agenda[0][0] <= self._now():
                heapq.heappop(self._agenda)[2]()
            self._replace_who_left()
            self._tell()
            time.sleep(TICK)

    def _tell(self) -> None:
        if self._now() - self._told > TOLD_EVERY:
            self._told = self._now()
            done = self._ask("SELECT coalesce(last_value, 0) FROM effects_seq_seq")
            self._tell_somebody(len(audit.accepted_by(self._stage)), done, self._last)

    # -- faults

    def _strike(self, fault: Fault) -> None:
        self._faults[fault.kind] += 1
        self._last = fault.kind
        getattr(self, f"_{fault.kind.replace(' ', '_')}")(fault.chance)

    def _kill_worker(self, chance: float) -> None:
        number = self._pick_at_work(chance, self._kill_worker)
        if number is None:
            return
        name, process = self._names[number], self._stage.workers[number]
        at = audit.now()
        process.kill()
        process.wait(10)
        self._note_fallen(name, at=at, killed=True)
        self._hire(number)

    def _pick_at_work(self, chance: float, what: Callable[[float], None]) -> int | None:
        """A worker that has begun; where none has there is nothing to lose yet, so it is put off."""
        up = {number: name for number, name in self._names.items() if self._stage.is_up(name)}
        if up:
            return self._pick(up, chance)
        self._later(self._now() + 0.5, lambda: what(chance))
        return None

    def _note_fallen(self, name: str, *, at: datetime, killed: bool) -> None:
        try:
            with self._stage.client(timeout=1) as client:
                held = audit.held_by(self._stage, client, name)
        except redis.RedisError:
            if (audit.now() - at).total_seconds() < self._stage.size.lease / 2:
                self._later(self._now() + 0.3, lambda: self._note_fallen(name, at=at, killed=killed))
            else:
                self._faults["nobody saw what it held"] += 1
        else:
            self._fallen.append(Fallen(at=at, held=held, killed=killed))

    def _kill_sender(self, chance: float) -> None:
        number = self._pick(self._stage.senders, chance)
        process = self._stage.senders[number]
        process.kill()
        process.wait(10)
        self._stage.begin_to_send(number)

    def _kill_valkey(self, chance: float) -> None:
        self._stage.kill_engine("valkey", signal.SIGKILL)

    def _restart_postgres(self, chance: float) -> None:
        # At once, without a word to those who are connected; at its next start it recovers what was committed.
        self._stage.kill_engine("postgres", signal.SIGQUIT)

    def _stall_worker(self, chance: float) -> None:
        number = self._pick_at_work(chance, self._stall_worker)
        if number is None:
            return
        process = self._stage.workers[number]
        at = audit.now()
        os.kill(process.pid, signal.SIGSTOP)
        self._note_fallen(self._names[number], at=at, killed=False)
        self._later(self._now() + self._stage.size.lease + 2, lambda: _continue(process.pid))

    def _stall_valkey(self, chance: float) -> None:
        self._stage.signal_valkey(signal.SIGSTOP)
        self._later(self._now() + 6, lambda: self._stage.signal_valkey(signal.SIGCONT))

    def _cut(self, chance: float) -> None:
        self._stage.tell_line("cut")

    def _lose_reply(self, chance: float) -> None:
        self._stage.tell_line("lose")

    def _slow_line(self, chance: float) -> None:
        self._stage.tell_line(f"slow {1 + 2 * chance:.2f} 0.2")

    def _silent_line(self, chance: float) -> None:
        self._stage.tell_line("silent 7")

    def _step_clock(self, chance: float) -> None:
        kind = "worker" if chance < 0.7 else "sender"
        step = CLOCK_STEPS[int(chance * 1000) % len(CLOCK_STEPS)]
        self._stage.step_clock(kind, int(chance * 100) % 2, step)

    def _fill_disk(self, chance: float) -> None:
        if self._stage.fill_disk():
            self._faults["valkey gave up"] += 1

    # -- the crew

    def _hire(self, number: int) -> None:
        self._names[number] = self._stage.hire(number)

    def _pick(self, crew: dict[int, Any], chance: float) -> int:
        return sorted(crew)[int(chance * len(crew))]

    def _replace_who_left(self) -> None:
        """Nobody was asked to leave; it is counted, for it should not happen."""
        for number, process in list(self._stage.workers.items()):
            if process.poll() is not None:
                self._faults["worker ended by itself"] += 1
                self._hire(number)
        for number, process in list(self._stage.senders.items()):
            if process.poll():
                self._faults["sender ended by itself"] += 1
                self._stage.begin_to_send(number)

    # -- the end

    def _all_sent(self) -> bool:
        return all(process.poll() == 0 for process in self._stage.senders.values())

    def _all_done(self) -> bool:
        if self._ask("SELECT last_value FROM effects_seq_seq") < self._stage.size.jobs * 0.9:
            return False
        try:
            with self._stage.client() as client:
                waiting, dead = audit.still_queued(self._stage, client)
                quiet = not waiting and (self._stage.arm == "stock" or not audit.left_behind(client))
        except redis.RedisError:
            return False
        self._last = f"waiting for {len(waiting)}"
        return quiet and not audit.unfinished(self._stage, self._database()) - dead

    def _verdict(self) -> Verdict:
        stage, connection = self._stage, self._database()
        seconds = self._now()
        open_ = audit.unfinished(stage, connection)
        with stage.client() as client:
            waiting, dead = audit.still_queued(stage, client)
            left = audit.left_behind(client) if stage.arm == "ours" else []
        return Verdict(
            arm=stage.arm,
            run=self._run,
            accepted=len(audit.accepted_by(stage)),
            lost=len(open_ - waiting - dead),
            stranded=len(open_ & waiting),
            dead=len(open_ & dead - waiting),
            doubled=audit.doubled(connection),
            ran_again=audit.ran_again(connection),
            overtaken=audit.overtaken(connection) if stage.arm == "ours" else -1,
            left_behind=left[:20],
            recovery=audit.recovery(connection, self._fallen),
            seconds=seconds,
            faults=dict(self._faults),
        )

    def _ask(self, query: str) -> int:
        try:
            return audit.count(self._database(), query)
        except psycopg.Error:
            self._connection = None
            return 0

    def _database(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.broken:
            self._connection = psycopg.connect(self._stage.postgres_url, autocommit=True, connect_timeout=10)
        return self._connection


def _continue(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
