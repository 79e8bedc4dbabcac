"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

import msgspec
import psutil

from workers.order import Beat, Order, outcome, pack, read_beat

T = TypeVar("T")

READ_SIZE = 65_536
MIB = 1024 * 1024

Why = Literal["stop window", "hurry", "stuck", "silent", "never ready"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How many worker processes there are, and how each of them works.

    Attributes:
        processes: How many.
        threads: How many jobs each runs at once.
        queues: The only queues they work on; empty for all.
        stop_within: How long jobs may go on when everything stops.
        grace: How far a job may run over its time limit, and how long a process may be silent.
        recycle_jobs: After how many messages a process is replaced; 0 for never.
        recycle_mib: Above how much resident memory; 0 for never.
    """

    processes: int
    threads: int
    queues: tuple[str, ...]
    stop_within: timedelta
    grace: timedelta
    recycle_jobs: int
    recycle_mib: int


class News:
    """Wakes whoever waits for something to become true; told of every change."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, true: Callable[[], T], *, within: timedelta | None = None) -> T:
        """Wait until it is true, or the time is up; its last answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds() if within else None):
                while not true():
                    await self._changed.wait()
        return true()


class Child:
    """One worker process.

    Attributes:
        name: What it is called at the queue.
        place: Which of the supervisor's places it fills.
        roll: The rolling restart that it belongs to.
        beat: What it said last.
        dumped: When it was made to show its stacks for its silence.
        code: How it ended; None while it runs.
        killed: Why we ended it by force.
        started: When it was started. All times are seconds of the monotonic clock.
        heard: When it gave its last sign of life.
        ready_at: When it said that it takes messages.
        retiring: Whether somebody else fills its place by now.
        not_before: When it may be replaced at the earliest.
        too_large: Whether it has grown beyond the limit.
    """

    def __init__(self, *, name: str, place: int, roll: int, process: asyncio.subprocess.Process, news: News) -> None:
        self.name = name
        self.place = place
        self.roll = roll
        self.beat: Beat | None = None
        self.dumped: float | None = None
        self.code: int | None = None
        self.killed: Why | None = None
        self.started = self.heard = time.monotonic()
        self.ready_at: float | None = None
        self.retiring = False
        self.not_before = 0.0
        self.too_large = False
        self._process = process
        self._news = news
        self._rest = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.code is not None

    @property
    def end(self) -> str:
        """How it ended, in words."""
        return outcome(self.code) if self.code is not None else ""

    @property
    def settled_in(self) -> bool:
        """Whether it is known to have started, or to have failed to."""
        return self.ended or self.ready_at is not None

    @property
    def stuck(self) -> bool:
        """Whether it says that one of its jobs runs far over its time limit."""
        return self.beat is not None and self.beat.stuck

    @property
    def lived(self) -> timedelta:
        """How long it has worked."""
        return timedelta(seconds=time.monotonic() - self.ready_at) if self.ready_at else timedelta(0)

    def memory_mib(self) -> float:
        """How much of it is resident; 0 when it has ended."""
        try:
            return float(psutil.Process(self.pid).memory_info().rss / MIB)
        except psutil.Error:
            return 0.0

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there to take one."""
        if not self.ended:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self, why: Why) -> None:
        """End it by force."""
        if not self.ended:
            self.killed = self.killed or why
            self.send(signal.SIGKILL)

    def listen(self, pipe: int) -> asyncio.Task[None]:
        """Hear its beats and notice its end from now on."""
        os.set_blocking(pipe, False)
        asyncio.get_running_loop().add_reader(pipe, self._hear, pipe)
        return asyncio.create_task(self._until_end())

    def _hear(self, pipe: int) -> None:
        read = os.read(pipe, READ_SIZE)
        if not read:
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)
            return
        *lines, self._rest = (self._rest + read).split(b"\n")
        self.heard = time.monotonic()
        self.dumped = None
        for line in lines:
            with suppress(msgspec.DecodeError):
                self.beat = read_beat(line)
        if self.beat and self.beat.ready and self.ready_at is None:
            self.ready_at = self.heard
        self._news.tell()

    async def _until_end(self) -> None:
        self.code = await self._process.wait()
        self._news.tell()


async def hire(plan: Plan, *, place: int, roll: int, news: News) -> tuple[Child, asyncio.Task[None]]:
    """Start a worker process; it, and the task that notices its end.

    From the main thread only: Linux takes the death of the thread that started a process for its parent's.

    Raises:
        OSError: The machine has no room for another.
    """
    read, write = os.pipe()
    order = Order(
        # No other worker may ever have had the name: its messages would be taken for this one's.
        name=f"{socket.gethostname()}.{place}.{secrets.token_hex(6)}",
        supervisor=os.getpid(),
        pipe=write,
        threads=plan.threads,
        queues=plan.queues,
        stop_within=plan.stop_within,
        grace=plan.grace,
    )
    try:
        # A fresh interpreter, never a fork of this one: it loads the code that is there now.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.child", pack(order).decode()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(write,),
        )
    except OSError:
        os.close(read)
        raise
    finally:
        os.close(write)
    child = Child(name=order.name, place=place, roll=roll, process=process, news=news)
    return child, child.listen(read)
