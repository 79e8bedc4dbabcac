"""What a run is played on: real engines, a bad line, and processes to be killed. Nothing of it outlives the run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import redis

from backroom.embedded import Engines
from backroom.embedded.tether import tethered
from backroom.queue.open import open_client
from tests.chaos.clock import set_offset
from tests.chaos.jobs import TABLES, Arm
from tests.chaos.plan import Size

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PREFIX = "chaos"
SMALL_DISK = 64 * 1024 * 1024


class Stage:
    """Engines with tables, and the crew that works over them."""

    def __init__(self, home: Path, *, arm: Arm, size: Size) -> None:
        self.home = home
        self.arm = arm
        self.size = size
        self.engines = Engines(home)
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.senders: dict[int, subprocess.Popen[bytes]] = {}
        self._line: subprocess.Popen[bytes] | None = None
        self._bad_url = ""
        self._hired = 0

    def open(self) -> None:
        self.engines.start()
        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            connection.execute(TABLES)
        self._line = self._spawn("proxy", str(self._port), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._line.stdout
        port = int(self._line.stdout.readline())
        self._bad_url = self.valkey_url.replace(f":{self._port}/", f":{port}/")
        for kind in ("worker", "sender"):
            for number in range(max(self.size.workers, self.size.senders)):
                set_offset(self._clock(kind, number), 0.0)

    def close(self) -> None:
        crew = [*self.workers.values(), *self.senders.values(), *filter(None, [self._line])]
        for process in crew:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in crew:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            for pipe in filter(None, [process.stdin, process.stdout]):
                with contextlib.suppress(OSError):
                    pipe.close()
        # It could not stop while it is stopped.
        self.signal_valkey(signal.SIGCONT)
        self.engines.stop()

    @property
    def valkey_url(self) -> str:
        assert self.engines.valkey
        return self.engines.valkey.url

    @property
    def postgres_url(self) -> str:
        assert self.engines.postgres
        return self.engines.postgres.url

    @property
    def logs(self) -> list[Path]:
        return sorted(self.home.glob("accepted.*"))

    def client(self, *, timeout: float = 5) -> redis.Redis:
        return open_client(self.valkey_url, timeout=timedelta(seconds=timeout))

    # -- the crew

    def hire(self, number: int) -> str:
        """Start a worker in a place; its name. Every other one is on the bad line."""
        self._hired += 1
        name = f"w{self._hired}"
        order = {
            **self._common("worker", number),
            "name": name,
            "up": str(self.home / f"up.{name}"),
            "threads": self.size.threads,
            "lease": self.size.lease,
            "postgres": self.postgres_url,
        }
        self.workers[number] = self._spawn("worker", json.dumps(order))
        return name

    def is_up(self, name: str) -> bool:
        return (self.home / f"up.{name}").exists()

    def begin_to_send(self, number: int, *, fault: str = "") -> None:
        """Start a sender, or start it again."""
        order = {
            **self._common("sender", number),
            "sender": number,
            "senders": self.size.senders,
            "jobs": self.size.jobs,
            "span": self.size.span,
            "log": str(self.home / f"accepted.{number}"),
            "go": str(self.home / "go"),
        }
        self.senders[number] = self._spawn("sender", json.dumps(order), fault=fault)

    def go(self) -> float:
        """Let the senders begin, once all of them are up; when that is."""
        until(lambda: len(self.logs) == self.size.senders, within=60, what="the senders are up")
        began = time.monotonic()
        fresh = self.home / "go.new"
        fresh.write_text(str(began))
        fresh.rename(self.home / "go")
        return began

    def tell_line(self, order: str) -> None:
        """Have something happen to those on the bad line."""
        assert self._line
        assert self._line.stdin
        self._line.stdin.write(f"{order}\n".encode())
        self._line.stdin.flush()

    def step_clock(self, kind: str, number: int, seconds: float) -> None:
        set_offset(self._clock(kind, number), seconds)

    # -- the engines

    def signal_valkey(self, number: signal.Signals) -> None:
        if self.engines.valkey:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.engines.valkey.pid, number)

    def kill_engine(self, name: str, number: signal.Signals) -> None:
        """Kill an engine, and start it again."""
        engine = self.engines.valkey if name == "valkey" else self.engines.postgres
        assert engine
        os.kill(engine.pid, number)
        until(lambda: name in self.engines.ended(), within=20, what=f"{name} has ended")
        self.engines.revive(name)

    def fill_disk(self) -> bool:
        """Leave Valkey no room on its disk until it has given up or some seconds have passed; whether it gave up."""
        ballast = self.home / "valkey" / "ballast"
        # Unbuffered: what does not fit must not be tried once more when the file is closed.
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(65_536)):
                pass
        try:
            until(lambda: "valkey" in self.engines.ended(), within=5, what="Valkey has given up")
        except TimeoutError:
            gave_up = False
        else:
            gave_up = True
        ballast.unlink()
        if gave_up:
            self.engines.revive("valkey")
        return gave_up

    @property
    def _port(self) -> int:
        return int(self.valkey_url.rpartition(":")[2].partition("/")[0])

    def _clock(self, kind: str, number: int) -> Path:
        return self.home / f"clock.{kind}.{number}"

    def _common(self, kind: str, number: int) -> dict[str, Any]:
        url = self._bad_url if number % 2 else self.valkey_url
        return {"arm": self.arm, "valkey": url, "prefix": PREFIX, "clock": str(self._clock(kind, number))}

    def _spawn(self, program: str, argument: str, *, fault: str = "", **pipes: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"tests.chaos.{program}", argument]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "BACKROOM_QUEUE_FAULT": fault}
        with (self.home / "crew.log").open("ab") as out:
            # Tied to us, should we be killed ourselves.
            return subprocess.Popen(
                tethered(command, on_death=signal.SIGKILL),
                **{"stdout": out, "stdin": subprocess.DEVNULL, **pipes},
                stderr=out,
                env=environ,
                cwd=ROOT,
                start_new_session=True,
            )


@contextlib.contextmanager
def home(*, small_disk: bool) -> Iterator[Path]:
    """A folder for a run, gone afterwards; with a small disk of its own for Valkey where that is wanted.

    Raises:
        PermissionError: No disk may be mounted here.
    """
    folder = Path(tempfile.mkdtemp(prefix="backroom-chaos-"))
    # PostgreSQL's own user has to pass through.
    folder.chmod(0o755)
    disk = folder / "valkey"
    try:
        if small_disk:
            disk.mkdir(mode=0o700)
            _mount(disk)
        yield folder
    finally:
        if disk.is_mount():
            subprocess.run(["umount", "--lazy", str(disk)], check=False, timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _mount(disk: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=20)
    except OSError as error:
        raise PermissionError(f"there is no mount here: {error}") from error
    if done.returncode:
        raise PermissionError(done.stderr.decode(errors="replace").strip())


def until(true: Callable[[], T], *, within: float, what: str, every: float = 0.02) -> T:
    """Wait for something to become true.

    Raises:
        TimeoutError: It did not.
    """
    deadline = time.monotonic() + within
    while not (found := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:.0f} s: {what}")
        time.sleep(every)
    return found
