"""Finds the house that runs, or starts one for the demo's time, and says whether its carriers are real."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
from dotenv import dotenv_values

from backroom.cli import _household as household
from backroom.cli._crew import HOME_VARIABLE, NAME_VARIABLE
from backroom.domain.errors import CannotStart
from backroom.embedded import open_home
from backroom.embedded.tether import tethered
from backroom.settings import Settings, listed, local_url
from backroom.shelf import Shelves, real_carriers

OPEN_WITHIN = timedelta(minutes=3)
# A little more than `backroom up` gives its slowest program.
CLOSE_WITHIN = timedelta(seconds=60)
ASK_EVERY = timedelta(milliseconds=200)
REQUEST_WITHIN = 5.0
LAST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class House:
    """A house that runs.

    Attributes:
        door: How its front door is reached.
        key: The key of its first application.
        outbox: The simulator's page, or empty where none runs.
        real: The carriers that have keys of their own, and would write to real people.
        ours: The process id of the `backroom up` that was started for the demo, or 0.
    """

    door: str
    key: str
    outbox: str
    real: tuple[str, ...]
    ours: int = 0


@contextmanager
def open_house(settings: Settings, *, keep: bool) -> Iterator[House]:
    """The house that runs in this home, or one that is started and stopped at the end.

    Args:
        settings: Name the home.
        keep: Whether a house that was started stays open.

    Raises:
        CannotStart: It does not open, or its key is not kept here.
    """
    home = settings.home
    if household.is_locked(home):
        yield _wait(home)
        return
    open_home(home)
    log = home / "demo-up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            # Tied to us, so that even a killed demo leaves nothing running.
            tethered([sys.executable, "-m", "backroom", "up"], on_death=None if keep else signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C is for us first: what is asked of the house then still gets its answer.
            start_new_session=True,
        )
    opened = False
    try:
        house = _wait(home, started=process, log=log)
        opened = True
        yield house
    finally:
        if not (keep and opened):
            _close(process)


def _wait(home: Path, *, started: subprocess.Popen[bytes] | None = None, log: Path | None = None) -> House:
    deadline = time.monotonic() + OPEN_WITHIN.total_seconds()
    while time.monotonic() < deadline:
        if started and log and started.poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            raise CannotStart("`backroom up` has ended:\n  " + "\n  ".join(last), mend="run `backroom doctor`")
        web, worker = _process("web", home), _process("worker", home)
        if web and worker and _answers(door := _door(web.environ())):
            return _house(home, door, worker, ours=started.pid if started else 0)
        time.sleep(ASK_EVERY.total_seconds())
    raise CannotStart(
        f"the house in {home} has not opened within {OPEN_WITHIN.total_seconds():.0f} s",
        mend=f"look at what `backroom up` says{f' in {log}' if log else ''}, and run `backroom doctor`",
    )


def _house(home: Path, door: str, worker: psutil.Process, *, ours: int) -> House:
    environ = worker.environ()
    given = household.key_file(home, environ.get("DATABASE_URL", ""))
    file = given if given.exists() else household.key_file(home, "")
    if not file.exists():
        raise CannotStart(
            f"no key is kept in {home}: the database had applications already",
            mend=f"put one of its secret keys into {file}",
        )
    simulator = environ.get("SIMULATOR_URL", "").rstrip("/")
    return House(
        door=door,
        key=file.read_text(encoding="ascii").strip(),
        outbox=f"{simulator}/outbox" if simulator else "",
        real=real_carriers(Shelves(listed(environ.get("BACKROOM_SHELVES", ""))), {**_dotenv(worker), **environ}),
        ours=ours,
    )


def _process(name: str, home: Path) -> psutil.Process | None:
    """The program of this name that `backroom up` keeps in this home; its children carry the same marks."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environ = process.environ()
            if environ.get(NAME_VARIABLE) == name and environ.get(HOME_VARIABLE) == str(home):
                return process
    return None


def _door(environ: Mapping[str, str]) -> str:
    return local_url(environ.get("HOST", "127.0.0.1"), environ["PORT"])


def _answers(door: str) -> bool:
    try:
        return httpx.get(f"{door}/readyz", timeout=REQUEST_WITHIN, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _dotenv(worker: psutil.Process) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(Path(worker.cwd()) / ".env").items()}


def _close(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(CLOSE_WITHIN.total_seconds())
    except subprocess.TimeoutExpired:
        # Its engines and programs are tied to it.
        process.kill()
        process.wait()
