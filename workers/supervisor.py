"""Keeps worker processes at work: replaces the one that dies, is spent or is stuck, and stops them in order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import structlog

from backroom.domain.backoff import Backoff
from backroom.domain.errors import QueueAway
from workers.supervisor_child import Child, News, Plan, Why, hire

log = structlog.get_logger()

LOOK_EVERY = timedelta(seconds=1)
# Copies of one request to stop, as a terminal or a process group sends them. Later than that somebody hurries.
COPIES_WITHIN = timedelta(seconds=2)
READY_WITHIN = timedelta(minutes=2)
# A process that has worked for so long has not died of its start.
HEALTHY = timedelta(minutes=1)
# How long a place stays empty where one after another dies of its start.
AGAIN = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=30), jitter=0)
# Below so many times what a fresh one takes, a limit on memory would replace one after another.
ROOM = 1.2
# Between the stacks of one process and the next: they share standard error.
STACKS_APART = timedelta(milliseconds=500)
RELEASE_EVERY = timedelta(milliseconds=500)
# A lease ends by itself: what cannot be released by then need not hold up the end.
LEAVE_WITHIN = timedelta(seconds=3)

# Ends a worker's lease: its name, and whether it may have died of what it held.
DeclareDead = Callable[[str, bool], tuple[int, int]]


class Supervisor:
    """Keeps a number of places filled, each with one worker process.

    Args:
        plan: How many, and how each works.
        lease: How long it is worth trying to end a dead one's lease.
        declare_dead: Ends it; may block, and raises `QueueAway`.
    """

    def __init__(self, plan: Plan, *, lease: timedelta, declare_dead: DeclareDead) -> None:
        self._plan = plan
        self._lease = lease
        self._declare_dead = declare_dead
        self._news = News()
        self._children: set[Child] = set()
        self._hiring = 0
        self._roll = 0
        self._asked: float | None = None
        self._hurry = False
        self._told_limit = False
        # One successor at a time: a crowd of them would need twice the memory.
        self._turn = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None

    async def run(self) -> None:
        """Keep them at work until asked to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._ask_to_roll)
        loop.add_signal_handler(signal.SIGUSR1, self._ask_for_stacks)
        log.info("supervisor.started", processes=self._plan.processes, threads=self._plan.threads)
        self._errand(self._look())
        for place in range(self._plan.processes):
            self._errand(self._keep(place))
        await self._news.until(self._stopping)
        await self._stop()
        if self._broken is not None:
            raise self._broken

    # -- what it is asked

    def _stopping(self) -> bool:
        return self._asked is not None

    def _ask_to_stop(self) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        elif now - self._asked > COPIES_WITHIN.total_seconds():
            self._hurry = True
        self._news.tell()

    def _ask_to_roll(self) -> None:
        self._roll += 1
        for child in self._children:
            child.not_before = 0.0
        log.info("supervisor.rolling", processes=self._plan.processes)
        self._news.tell()

    def _ask_for_stacks(self) -> None:
        able = [child for child in self._children if child.beat is not None]
        # They are written word by word, so one after another, or nobody could read them.
        for nth, child in enumerate(able):
            asyncio.get_running_loop().call_later(nth * STACKS_APART.total_seconds(), child.send, signal.SIGUSR1)

    # -- one place

    async def _keep(self, place: int) -> None:
        died_young = 0
        child = await self._hire(place)
        while not self._stopping():
            if child is None or child.ended:
                died_young = 0 if child and child.lived > HEALTHY else died_young + 1
                await self._lament(place, child, died_young)
                child = None if self._stopping() else await self._hire(place)
            elif why := self._why_replace(child):
                child = await self._replace(child, why)
            else:
                await self._until_something(child)

    async def _until_something(self, child: Child) -> None:
        await self._news.until(lambda: self._stopping() or child.ended or bool(self._why_replace(child)))

    async def _lament(self, place: int, child: Child | None, died_young: int) -> None:
        """Say that one has died, and wait a moment if that happens again and again."""
        pause = AGAIN.wait(died_young, chance=0) if died_young else timedelta(0)
        if child is not None:
            log.error("child.died", place=place, pid=child.pid, end=child.end, again_in=pause.total_seconds())
            self._see_off(child)
        roll = self._roll
        # Whoever has mended the code should not have to wait.
        await self._news.until(lambda: self._stopping() or self._roll != roll, within=pause)

    def _why_replace(self, child: Child) -> str:
        if child.retiring or child.ready_at is None or child.beat is None or time.monotonic() < child.not_before:
            return ""
        if child.stuck:
            return "stuck"
        if child.roll < self._roll:
            return "roll"
        if self._plan.recycle_jobs and child.beat.done >= self._plan.recycle_jobs:
            return "jobs"
        return "memory" if child.too_large else ""

    async def _replace(self, child: Child, why: str) -> Child:
        """Have somebody else fill its place, and then let it finish; who fills the place now."""
        async with self._turn:
            if child.ended or self._stopping():
                return child
            log.info("child.replacing", place=child.place, pid=child.pid, why=why)
            successor = await self._hire(child.place)
            if successor is not None:
                await self._news.until(lambda: self._stopping() or successor.settled_in, within=READY_WITHIN)
                if successor.ready_at and not successor.ended:
                    self._errand(self._retire(child))
                    if why == "roll":
                        await self._news.until(lambda: self._stopping() or child.ended, within=self._plan.stop_within)
                    return successor
            if not self._stopping():
                self._stay(child, successor)
            return child

    def _stay(self, child: Child, successor: Child | None) -> None:
        # Better old code at work than new code that cannot start.
        log.error("child.successor_failed", place=child.place, stays=child.pid)
        child.roll = self._roll
        child.not_before = time.monotonic() + AGAIN.longest.total_seconds()
        if successor is not None:
            self._kill(successor, "never ready")
            self._errand(self._retire(successor))

    async def _retire(self, child: Child) -> None:
        """Let it finish, however long that takes, unless it is stuck."""
        child.retiring = True
        child.send(signal.SIGTERM)
        while not child.ended:
            await self._news.until(lambda: child.ended or child.stuck)
            if not await self._news.until(lambda: child.ended or not child.stuck, within=self._plan.grace):
                self._kill(child, "stuck")
        self._see_off(child)

    # -- one process

    async def _hire(self, place: int) -> Child | None:
        self._hiring += 1
        try:
            child, end = await hire(self._plan, place=place, roll=self._roll, news=self._news)
        except OSError as error:
            log.error("child.not_started", place=place, error=str(error))  # noqa: TRY400 - says all there is to say
            return None
        finally:
            self._hiring -= 1
        self._errands.add(end)
        end.add_done_callback(self._errand_ended)
        self._children.add(child)
        log.info("child.started", place=place, pid=child.pid, worker=child.name)
        if self._stopping():
            child.send(signal.SIGTERM)
        return child

    def _kill(self, child: Child, why: Why) -> None:
        if not child.ended:
            log.warning("child.killed", place=child.place, pid=child.pid, why=why)
            child.kill(why)

    def _see_off(self, child: Child) -> None:
        """It has ended, and we have seen that: what it held need not wait until its lease ends."""
        if child in self._children:
            self._children.discard(child)
            # A process that was not given the time to finish did not die of its work.
            counted = child.code != 0 and child.killed not in {"stop window", "hurry"}
            self._releases.add(self._errand(self._release(child, counted=counted)))

    async def _release(self, child: Child, *, counted: bool) -> None:
        until = time.monotonic() + self._lease.total_seconds()
        waiting = False
        while True:
            try:
                held, poison = await asyncio.to_thread(self._declare_dead, child.name, counted)
            except QueueAway:
                if not waiting:
                    log.warning("child.release_waiting", place=child.place, worker=child.name)
                waiting = True
                if time.monotonic() >= until:
                    return
                await asyncio.sleep(RELEASE_EVERY.total_seconds())
            else:
                if held:
                    log.warning("child.released", worker=child.name, messages_back=held - poison, poison=poison)
                return

    # -- looking after them

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            for child in self._children:
                if not child.ended:
                    self._look_for_life(child)
                    self._look_at_memory(child)
            self._news.tell()

    def _look_for_life(self, child: Child) -> None:
        now = time.monotonic()
        if child.ready_at is None and not child.retiring and now - child.started > READY_WITHIN.total_seconds():
            self._kill(child, "never ready")
        # Before its first beat it may not know the signal for a dump, and die of it.
        if child.beat is None or now - child.heard < self._plan.grace.total_seconds():
            return
        if child.dumped is None:
            log.error("child.silent", place=child.place, pid=child.pid, seconds=round(now - child.heard))
            child.dumped = now
            child.send(signal.SIGUSR1)
        elif now - child.dumped > self._plan.grace.total_seconds():
            self._kill(child, "silent")

    def _look_at_memory(self, child: Child) -> None:
        limit = self._plan.recycle_mib
        if not limit or child.beat is None or child.ready_at is None or child.too_large:
            return
        fresh = child.beat.fresh_mib
        if limit < fresh * ROOM:
            # Its successor would be no smaller.
            if not self._told_limit:
                log.warning("child.limit_too_low", limit_mib=limit, fresh_mib=fresh)
            self._told_limit = True
        else:
            child.too_large = child.memory_mib() > limit

    # -- the end

    async def _stop(self) -> None:
        within = self._plan.stop_within
        log.info("supervisor.stopping", processes=len(self._children), within=within.total_seconds())
        for child in self._children:
            child.send(signal.SIGTERM)
        await self._news.until(lambda: self._hurry or self._all_ended(), within=within)
        for child in self._children:
            self._kill(child, "hurry" if self._hurry else "stop window")
        await self._news.until(self._all_ended)
        for child in list(self._children):
            self._see_off(child)
        if self._releases:
            await asyncio.wait(self._releases, timeout=LEAVE_WITHIN.total_seconds())
        for errand in self._errands:
            errand.cancel()
        log.info("supervisor.stopped")

    def _all_ended(self) -> bool:
        return not self._hiring and all(child.ended for child in self._children)

    def _errand(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        errand = asyncio.create_task(work)
        self._errands.add(errand)
        errand.add_done_callback(self._errand_ended)
        return errand

    def _errand_ended(self, errand: asyncio.Task[None]) -> None:
        self._errands.discard(errand)
        self._releases.discard(errand)
        if not errand.cancelled() and (error := errand.exception()) is not None:
            # A bug of ours: better no supervisor than one that looks away.
            self._broken = self._broken or error
            self._ask_to_stop()
