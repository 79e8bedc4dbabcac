"""The life of one engine: found or started, waited for, stopped."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import msgspec
import psutil
import structlog

from backroom.domain.errors import CannotStart
from backroom.embedded import note as notes
from backroom.embedded.note import Note
from backroom.embedded.tether import AVAILABLE, Account, tethered

log = structlog.get_logger()

READY_WITHIN = timedelta(seconds=60)
STOP_WITHIN = timedelta(seconds=30)
KILL_WITHIN = timedelta(seconds=5)
POLL = timedelta(milliseconds=10)
LOG_LIMIT = 5_000_000
LOG_TAIL = 15
START_TRIES = 3


class Server(ABC):
    """One engine of one home.

    Exactly one living process owns it, shown by a lock on a file that the kernel frees when that process ends. A second
    one that starts the same home shares the engine and leaves the stopping to the owner.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    hurry_signal: ClassVar[signal.Signals]

    def __init__(self, home: Path, *, fast: bool, tether: bool) -> None:
        self.home = home
        self.fast = fast
        self.tether = tether and AVAILABLE
        self.log = home / "logs" / f"{self.name}.log"
        self._note_file = home / f"{self.name}.json"
        self._pid_file = home / f"{self.name}.pid"
        self._lock_file = home / f"{self.name}.lock"
        self._lock: int | None = None
        self._process: psutil.Process | None = None

    @abstractmethod
    def url(self, note: Note) -> str:
        """How clients reach it."""

    @abstractmethod
    def mark(self, note: Note) -> str:
        """The argument on its command line that only this home's engine has."""

    @abstractmethod
    def prepare(self, note: Note) -> tuple[Note, Sequence[str], Account | None]:
        """Lay out its files; returns the note as it is now, its command line and who it runs as."""

    @abstractmethod
    def answers(self, note: Note) -> bool:
        """Whether it takes commands from us now."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing of ours leaks into an engine: secrets least of all."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    @property
    def note(self) -> Note:
        """What the home remembers of this engine.

        Raises:
            CannotStart: It was never started here.
        """
        if found := notes.read(self._note_file):
            return found
        raise CannotStart(f"{self.title} was never started in {self.home}", mend="run `backroom up`")

    @property
    def pid(self) -> int:
        """Its process id, 0 while it does not run."""
        return self._process.pid if self._process else 0

    @property
    def ended(self) -> bool:
        """Whether it ran for us and does not any more."""
        return self._process is not None and not runs(self._process)

    def find(self) -> int:
        """The process id of this home's engine if it runs and answers, else 0."""
        found = self._running()
        return found.pid if found is not None and self.answers(self.note) else 0

    def start(self) -> None:
        """Find it running or start it, and return when it answers.

        Raises:
            CannotStart: It did not come up; the message ends with the last lines of its log.
        """
        if not self._own():
            self._share()
            return
        if (found := self._running()) is not None:
            if self.note.tethered:
                # Its owner was killed and it is on its way out: let it finish writing.
                log.info("engine.awaited", engine=self.name, pid=found.pid)
                self._await_end(found)
            elif self.answers(self.note):
                log.info("engine.adopted", engine=self.name, pid=found.pid)
                self._process = found
                return
            else:
                self._end(found)
        self._pid_file.unlink(missing_ok=True)
        self._start_new()

    def stop(self) -> None:
        """Stop it if it is ours to stop; what it has accepted is on disk when this returns."""
        if self._lock is None:
            self._process = None
            return
        if self._process is not None:
            self._end(self._process)
            self._process = None
            self._pid_file.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def _own(self) -> bool:
        if self._lock is not None:
            return True
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _share(self) -> None:
        deadline = time.monotonic() + READY_WITHIN.total_seconds()
        while time.monotonic() < deadline:
            found = self._running()
            if found is not None and self.answers(self.note):
                self._process = found
                log.info("engine.shared", engine=self.name, pid=found.pid)
                return
            if self._own():
                # Its owner left while we waited.
                self.start()
                return
            time.sleep(POLL.total_seconds())
        raise self._failed(f"another process owns {self.title} in {self.home}, but it does not answer")

    def _running(self) -> psutil.Process | None:
        """The process of the noted id, if it is really this home's engine and not a stranger with a reused id."""
        note = notes.read(self._note_file)
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        if note is None:
            return None
        try:
            process = psutil.Process(pid)
            return process if self.mark(note) in process.cmdline() else None
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied as error:
            raise CannotStart(
                f"{self.title} of {self.home} runs as another user (process {pid})", mend="stop it as that user"
            ) from error

    def _start_new(self) -> None:
        for attempt in range(1, START_TRIES + 1):
            note = notes.read(self._note_file) or Note(
                port=0, password=notes.new_password(), admin_password=notes.new_password()
            )
            note = msgspec.structs.replace(note, port=notes.free_port(note.port), tethered=self.tether)
            note, command, account = self.prepare(note)
            notes.write(self._note_file, note)
            self._process = self._spawn(command, account)
            if self._await_ready(note):
                log.info("engine.started", engine=self.name, pid=self.pid, port=note.port)
                return
            taken = not notes.port_is_free(note.port)
            if taken and attempt < START_TRIES:
                # Somebody took the port between our look and its start.
                continue
            raise self._failed(f"{self.title} ended while it started")

    def _spawn(self, command: Sequence[str], account: Account | None) -> psutil.Popen:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            return psutil.Popen(
                tethered(
                    command,
                    on_death=self.stop_signal if self.tether else None,
                    pid_file=self._pid_file,
                    account=account,
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd="/",
                # A Ctrl-C in the terminal is for us; we stop the engines last.
                start_new_session=True,
            )

    def _await_ready(self, note: Note) -> bool:
        """Whether it answers; False if it ended instead."""
        deadline = time.monotonic() + READY_WITHIN.total_seconds()
        while time.monotonic() < deadline:
            if self.ended:
                return False
            if self.answers(note):
                return True
            time.sleep(POLL.total_seconds())
        message = f"{self.title} does not answer {READY_WITHIN.total_seconds():.0f} s after its start"
        failure = self._failed(message)
        self.stop()
        raise failure

    def _end(self, process: psutil.Process) -> None:
        """Ask, then urge, then kill."""
        steps = (
            (self.stop_signal, STOP_WITHIN),
            (self.hurry_signal, KILL_WITHIN),
            (signal.SIGKILL, KILL_WITHIN),
        )
        for order, within in steps:
            try:
                process.send_signal(order)
            except psutil.NoSuchProcess:
                break
            if gone_within([process], within):
                break
            log.warning("engine.stop_slow", engine=self.name, pid=process.pid, signal=order.name)
        log.info("engine.stopped", engine=self.name, pid=process.pid)

    def _await_end(self, process: psutil.Process) -> None:
        if not gone_within([process], STOP_WITHIN):
            self._end(process)

    def _failed(self, message: str) -> CannotStart:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8_192))
                lines = file.read().decode(errors="replace").splitlines()[-LOG_TAIL:]
        except FileNotFoundError:
            lines = []
        return CannotStart("\n  ".join([message, *lines]), mend=f"the whole log is in {self.log}")


def gone_within(processes: Sequence[psutil.Process], within: timedelta) -> bool:
    """Wait until all of them have ended; False if one has not.

    Looks for itself: psutil waits for a process that is not our child until its parent has buried it, which the first
    process of a container may never do.
    """
    deadline = time.monotonic() + within.total_seconds()
    while any(runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL.total_seconds())
    return True


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended yet."""
    if isinstance(process, psutil.Popen):
        return bool(process.poll() is None)
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
