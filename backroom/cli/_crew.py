"""Runs programs side by side in one terminal: shows what they say, starts again what ends, stops them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from backroom.domain.errors import CannotStart
from backroom.embedded import Engines
from backroom.embedded.server import gone_within, runs
from backroom.embedded.tether import tethered

ENDS_ALLOWED = 5
ENDS_WITHIN = timedelta(minutes=1)
BACKOFF = timedelta(milliseconds=500)
LOOK_AT_ENGINES = timedelta(milliseconds=500)
DRAIN_WITHIN = timedelta(seconds=2)
SETTLE = timedelta(milliseconds=50)
LEAVE_WITHIN = timedelta(seconds=3)
READ_SIZE = 65_536
LINE_LIMIT = 65_536
# What our processes carry in their environment, so that a later start knows them again.
NAME_VARIABLE = "BACKROOM_PROCESS"
HOME_VARIABLE = "BACKROOM_HOME"

Say = Callable[[str, str], None]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of the crew.

    Attributes:
        name: How its lines are marked.
        words: Its command line, the program with its full path.
        environ: All of its environment.
        window: How long it may take to stop.
    """

    name: str
    words: Sequence[str]
    environ: Mapping[str, str]
    window: timedelta = timedelta(seconds=10)


@dataclass
class Ends:
    """How often something ended unasked, and what follows from it."""

    times: deque[float] = field(default_factory=deque)

    def count(self, now: float) -> int:
        """Add one, and say how many there were of late."""
        self.times.append(now)
        while self.times[0] < now - ENDS_WITHIN.total_seconds():
            self.times.popleft()
        return len(self.times)


class Crew:
    """The programs of one `backroom up`.

    Args:
        programs: In the order of their start; they are stopped the other way round.
        engines: Looked after, too, but stopped by their owner.
        say: Takes the name of who speaks and a line.
        lines: Takes the name of a program and whole lines that it wrote.
    """

    def __init__(self, programs: Sequence[Program], *, engines: Engines, say: Say, lines: Say) -> None:
        self.failed = False
        self._programs = programs
        self._engines = engines
        self._say = say
        self._lines = lines
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def start(self) -> None:
        """Start every program and look after it from now on."""
        for program in self._programs:
            self._keepers[program.name] = asyncio.create_task(self._keep(program))
        self._keepers[""] = asyncio.create_task(self._keep_engines())

    def ask_to_stop(self) -> None:
        """Asked once: stop in order. Asked twice: now."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def until_asked(self) -> None:
        """Wait until somebody asks to stop, or a program cannot be kept running."""
        await self._stop.wait()

    async def stop(self) -> None:
        """Stop them all, the last started first, each within its window."""
        self._stop.set()
        await self._keepers.pop("")
        for program in reversed(self._programs):
            keeper = self._keepers[program.name]
            while not keeper.done():
                if process := self._running.get(program.name):
                    await self._end(program, process, keeper)
                # It may be about to start.
                await asyncio.wait([keeper], timeout=SETTLE.total_seconds())
            keeper.result()

    async def _keep(self, program: Program) -> None:
        ends = Ends()
        while not self._stop.is_set():
            process = await self._spawn(program)
            self._running[program.name] = process
            reading = asyncio.create_task(self._read(program.name, process))
            code = await process.wait()
            del self._running[program.name]
            # Whatever it has left behind would hold on to its port and its terminal.
            _kill_group(process.pid)
            await asyncio.wait([reading], timeout=DRAIN_WITHIN.total_seconds())
            reading.cancel()
            if not self._stop.is_set():
                await self._again(program.name, ends, f"ended unasked with {_outcome(code)}")

    async def _again(self, name: str, ends: Ends, what: str) -> None:
        count = ends.count(time.monotonic())
        if count >= ENDS_ALLOWED:
            self._give_up(name, f"{what}, {count} times within a minute: everything stops")
            return
        pause = BACKOFF * 2 ** (count - 1)
        self._say(name, f"{what}; started again in {pause.total_seconds():g} s ({count} of {ENDS_ALLOWED} in a minute)")
        await self._pause(pause)

    def _give_up(self, name: str, what: str) -> None:
        self._say(name, what)
        self.failed = True
        self._stop.set()

    async def _keep_engines(self) -> None:
        ends: dict[str, Ends] = {}
        while not self._stop.is_set():
            for name in self._engines.ended():
                await self._again(name, ends.setdefault(name, Ends()), "the engine ended unasked")
                if self._stop.is_set():
                    return
                try:
                    # In this thread, though it blocks: Linux ends an engine with the thread that started it.
                    self._engines.revive(name)
                except CannotStart as error:
                    self._give_up(name, str(error))
                else:
                    self._say(name, "answers again")
            await self._pause(LOOK_AT_ENGINES)

    async def _pause(self, how_long: timedelta) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(how_long.total_seconds()):
                await self._stop.wait()

    async def _spawn(self, program: Program) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *tethered(program.words, on_death=signal.SIGTERM),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**program.environ, NAME_VARIABLE: program.name},
            # A Ctrl-C in the terminal is for us; we pass it on in order.
            start_new_session=True,
        )

    async def _read(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(READ_SIZE):
            whole, cut, rest = (rest + chunk).rpartition(b"\n")
            if cut:
                self._lines(name, whole.decode(errors="replace"))
            if len(rest) > LINE_LIMIT:
                self._lines(name, rest.decode(errors="replace"))
                rest = b""
        if rest:
            self._lines(name, rest.decode(errors="replace"))

    async def _end(self, program: Program, process: asyncio.subprocess.Process, keeper: asyncio.Task[None]) -> None:
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            if not self._hurry.is_set():
                process.send_signal(signal.SIGTERM)
                window = program.window.total_seconds()
                done, _ = await asyncio.wait([keeper, hurry], timeout=window, return_when=asyncio.FIRST_COMPLETED)
                if keeper in done:
                    return
                why = "you hurry" if hurry in done else f"still running after {window:g} s"
                self._say(program.name, f"{why}: killed")
            _kill_group(process.pid)
        except ProcessLookupError:
            return
        finally:
            hurry.cancel()


def sweep(home: Path) -> list[str]:
    """End what a killed `backroom up` of this home has left behind; returns the names of what did not go by itself."""
    left = [process for process in psutil.process_iter() if process.pid != os.getpid() and _is_ours(process, home)]
    if gone_within(left, LEAVE_WITHIN):
        return []
    stubborn = [process for process in left if runs(process)]
    names = []
    for process in stubborn:
        try:
            names.append(f"{process.name()} ({process.pid})")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    gone_within(stubborn, LEAVE_WITHIN)
    return names


def _is_ours(process: psutil.Process, home: Path) -> bool:
    try:
        environ = process.environ()
    except (psutil.Error, OSError):
        return False
    return NAME_VARIABLE in environ and environ.get(HOME_VARIABLE) == str(home)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _outcome(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
