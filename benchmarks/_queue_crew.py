"""The processes of one side: who sends, who works, and what their jobs have counted so far."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from backroom.embedded.tether import AVAILABLE, tethered
from benchmarks.frame.place import ROOT, processor_seconds
from benchmarks.peers._place import Place, Side
from benchmarks.peers._shelf import Entry

# A million messages take a while to send.
ANSWER_WITHIN = timedelta(minutes=10)
NO_PROGRESS = timedelta(seconds=30)
LOOK_AGAIN = timedelta(milliseconds=4)
# A drain is timed from here on: everybody is at work by then, and no start-up is in it.
UNDER_WAY = 0.1
UNDER_WAY_AT_MOST = 0.5


class Stuck(Exception):
    """A side does not do what it should; it is left out, and the others go on."""


@dataclass(frozen=True, kw_only=True)
class Party:
    """A side, and the peer that it is one of."""

    entry: Entry
    side: Side

    @property
    def name(self) -> str:
        """The side's."""
        return self.side.name


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where turns are played.

    Attributes:
        folder: For logs and tallies.
        valkey: The engine's address.
        postgres: The other engine's address.
        durable: Whether every accepted job has to be on disk.
    """

    folder: Path
    valkey: str
    postgres: str
    durable: bool


class Crew:
    """One sender, and workers when they are called."""

    def __init__(self, party: Party, ground: Ground, *, processes: int) -> None:
        self.party = party
        self._folder = Path(tempfile.mkdtemp(dir=ground.folder, prefix="turn-"))
        self._processes = processes
        self._environ = Place(
            side=party.name,
            valkey=ground.valkey,
            postgres=ground.postgres,
            tally=str(self._folder),
            processes=processes,
            threads=party.side.threads,
            durable=ground.durable,
        ).environ()
        self._workers: list[subprocess.Popen[str]] = []
        self._sender = self._start("_send", piped=True)
        self.can: dict[str, Any] = {}

    def meet(self) -> None:
        """Hear from the sender what it can do, and have it tidy up.

        Raises:
            Stuck: It cannot even start.
        """
        self.can = self._answer()
        self.ask("clear")

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Have the sender do something, and wait until it is done.

        Raises:
            Stuck: It does not answer.
        """
        assert self._sender.stdin is not None
        try:
            self._sender.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self._sender.stdin.flush()
        except OSError as error:
            raise Stuck(self._last_words("_send")) from error
        return self._answer()

    def start_workers(self) -> None:
        """Have the workers begin."""
        count = 1 if self.party.side.forks else self._processes
        self._workers = [self._start("_work", piped=False) for _ in range(count)]

    def stop(self) -> None:
        """All of them, at once: what they hold is thrown away next."""
        for process in (*self._workers, self._sender):
            # With the children that it may have forked.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for end in (process.stdin, process.stdout):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.close()

    # -- what the jobs have counted

    def ran(self) -> int:
        """How many jobs."""
        return sum(self._ran_each())

    def wait_for(self, jobs: int, *, what: str) -> float:
        """Wait until so many have run, and say when that was.

        Raises:
            Stuck: None has for a long while.
        """
        before, moved = 0, time.monotonic()
        while (ran := self.ran()) < jobs:
            if self._all_gone():
                raise Stuck(self._last_words("_work"))
            now = time.monotonic()
            if ran > before:
                before, moved = ran, now
            elif now - moved > NO_PROGRESS.total_seconds():
                raise Stuck(f"{what}: {ran} of {jobs} after {NO_PROGRESS} without another")
            time.sleep(LOOK_AGAIN.total_seconds())
        return time.monotonic()

    def wait_until_under_way(self, jobs: int) -> tuple[int, float]:
        """Wait until all processes are at work, and say how many jobs have run by when."""
        self.wait_for(max(1, int(jobs * UNDER_WAY)), what="the first tenth of the jobs")
        while (ran := self.ran()) < jobs * UNDER_WAY_AT_MOST:
            if sum(1 for one in self._ran_each() if one) >= self._processes:
                break
            time.sleep(LOOK_AGAIN.total_seconds())
        return ran, time.monotonic()

    def waits(self) -> list[float]:
        """How long each job had waited that looks at the clock, in ms, and forget them."""
        found = array("d")
        for path in self._folder.glob("*.waited"):
            found.frombytes(path.read_bytes())
            os.truncate(path, 0)
        return list(found)

    # -- what the workers cost

    def seconds(self) -> float:
        """The processor time that the workers have had, with their children."""
        return sum(processor_seconds(process) for process in self._everyone())

    def megabytes(self) -> float:
        """The memory that the workers hold, pages that they share counted once."""
        return sum(_memory(process) for process in self._everyone()) / 1024 / 1024

    def _everyone(self) -> Iterator[psutil.Process]:
        for worker in self._workers:
            process = psutil.Process(worker.pid)
            yield process
            yield from process.children(recursive=True)

    def _ran_each(self) -> list[int]:
        return [int.from_bytes(path.read_bytes(), "little") for path in self._folder.glob("*.ran")]

    def _all_gone(self) -> bool:
        return bool(self._workers) and all(worker.poll() is not None for worker in self._workers)

    def _start(self, part: str, *, piped: bool) -> subprocess.Popen[str]:
        # Nobody's own settings, `.env` files or proxies have a say in a measurement.
        clean = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **self._environ}
        command = [str(self.party.entry.python), "-m", f"benchmarks.peers.{part}", self.party.entry.name]
        with (self._folder / f"{part}.log").open("ab") as said:
            return subprocess.Popen(  # noqa: S603 - our own module, with our own arguments
                tethered(command, on_death=signal.SIGTERM if AVAILABLE else None),
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else said,
                stderr=said,
                env=clean,
                cwd=self._folder,
                start_new_session=True,
                text=True,
            )

    def _answer(self) -> dict[str, Any]:
        assert self._sender.stdout is not None
        ready, _, _ = select.select([self._sender.stdout], [], [], ANSWER_WITHIN.total_seconds())
        line = self._sender.stdout.readline() if ready else ""
        if not line:
            raise Stuck(self._last_words("_send"))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self, part: str) -> str:
        log = self._folder / f"{part}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        return f"{part} has ended or is stuck; it said {lines[-1] if lines else 'nothing'!r}"


@contextmanager
def crew(party: Party, ground: Ground, *, processes: int = 1) -> Iterator[Crew]:
    """A crew on an empty ground."""
    them = Crew(party, ground, processes=processes)
    try:
        them.meet()
        yield them
    finally:
        them.stop()


def _memory(process: psutil.Process) -> float:
    found = process.memory_full_info() if AVAILABLE else process.memory_info()
    return float(getattr(found, "pss", found.rss))
