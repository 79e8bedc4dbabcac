"""A place to measure in: a folder that goes away, engines of its own, processes that end with it."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import psutil
import redis

from backroom.embedded import Engine, Engines
from backroom.embedded.tether import AVAILABLE, tethered

ROOT = Path(__file__).parent.parent.parent
LOOK_AGAIN = timedelta(milliseconds=20)
STOP = timedelta(seconds=30)
KILL = timedelta(seconds=5)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that goes away. Not closed to others: as root, PostgreSQL runs as another user."""
    with tempfile.TemporaryDirectory(prefix="backroom-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@contextmanager
def own_engines(folder: Path) -> Iterator[tuple[Engine, Engine]]:
    """A Valkey and a PostgreSQL as `make up` starts them: every write is on disk before its answer."""
    with Engines(folder / "home") as engines:
        if engines.valkey is None or engines.postgres is None:
            raise RuntimeError("an engine is missing")
        yield engines.valkey, engines.postgres


@contextmanager
def own_valkey(folder: Path) -> Iterator[Engine]:
    """The Valkey alone."""
    engines = Engines(folder / "home")
    engines.start(postgres=False)
    try:
        if engines.valkey is None:
            raise RuntimeError("the engine is missing")
        with redis.Redis.from_url(engines.valkey.url) as client:
            # A rewrite would fall into whoever's turn it is.
            client.config_set("auto-aof-rewrite-percentage", 0)
        yield engines.valkey
    finally:
        engines.stop()


@contextmanager
def own_process(
    *arguments: str, folder: Path, name: str, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """This Python with a module of ours, stopped at the end. It gets this environment and no other."""
    log = folder / f"{name}.log"
    # Nobody's own settings, `.env` files or proxies have a say in a measurement.
    clean = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **environ}
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own module, with our own arguments
            # It ends with us, even if we are killed.
            tethered([sys.executable, *arguments], on_death=signal.SIGTERM if AVAILABLE else None),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=clean,
            cwd=folder,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP.total_seconds())
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(KILL.total_seconds())


def until(condition: Callable[[], bool], *, within: timedelta, what: str, every: timedelta = LOOK_AGAIN) -> None:
    """Ask until it is so.

    Raises:
        TimeoutError: It was not in time.
    """
    deadline = time.monotonic() + within.total_seconds()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within}: {what}")
        time.sleep(every.total_seconds())


def processor_seconds(process: psutil.Process) -> float:
    """What a process has had, by the kernel's own count if it has one: the usual one has hundredths of a second."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    counts = [int(thread.read_text().split()[0]) for thread in threads]
    return sum(counts) / 1e9 if counts else float(sum(process.cpu_times()[:2]))


def machine() -> dict[str, str | float]:
    """What a reader must know of the machine. The load tells whether it had anything else to do."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 0,
        "load before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "dramatiq": version("dramatiq"),
    }


def valkey_version(url: str) -> str:
    """The engine's own word."""
    with redis.Redis.from_url(url) as client:
        return str(client.info("server").get("valkey_version", "unknown"))
