"""A house as its operators run it: real engines, front door, worker and clock, with the simulator as its carriers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from backroom.embedded.note import free_port
from backroom.simulator.run import Simulator
from backroom.store.admin import create_application
from backroom.store.migrate import upgrade
from benchmarks.frame.place import own_engines, own_process, until, valkey_version

THREADS = 8
MB = 1_000_000
# Guards nothing: the house is on the loopback address and gone in minutes.
SECRET = "of a house that is gone in minutes"  # noqa: S105
OPENS_WITHIN = timedelta(seconds=60)
ANSWERS_WITHIN = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class House:
    """A house that is open.

    Attributes:
        client: An application's, with its key; threads may share it.
        simulator: Where its letters go.
        processes: The first process of each part; its children belong to it.
        valkey: The engine's version.
    """

    client: httpx.Client
    simulator: Simulator
    processes: Mapping[str, psutil.Process]
    valkey: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """What one part of the house takes while nothing is asked of it.

    Attributes:
        part: Which.
        processes: How many it consists of.
        memory: Resident MB of all of them together; a page that several share counts in each.
        proportional: The same with each shared page divided by those who share it, where the system tells.
        cpu: Percent of one core.
    """

    part: str
    processes: int
    memory: float
    proportional: float | None
    cpu: float


@contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """Open a house, with the door answering and the worker at work."""
    with ExitStack() as stack:
        valkey, postgres = stack.enter_context(own_engines(folder))
        upgrade(postgres.url)
        app = create_application(postgres.url, name="bench", secret=SECRET.encode())
        simulator = stack.enter_context(Simulator(folder / "simulator"))
        port = free_port()
        environ = {
            "PORT": str(port),
            "REDIS_URL": valkey.url,
            "DATABASE_URL": postgres.url,
            "BACKROOM_HOME": str(folder / "home"),
            "BACKROOM_SECRET": SECRET,
            "SIMULATOR_URL": simulator.url,
            "SIMULATOR_SMTP_PORT": str(simulator.smtp_port),
            "LOG_LEVEL": "warning",
            "WORKER_PROCESSES": "1",
            "WORKER_THREADS": str(THREADS),
        }
        parts = {"web": ("-m", "api_shim"), "worker": ("-m", "workers"), "clock": ("-m", "scheduler")}
        processes = {
            name: psutil.Process(
                stack.enter_context(own_process(*command, folder=folder, name=name, environ=environ)).pid
            )
            for name, command in parts.items()
        }
        processes |= {"valkey": psutil.Process(valkey.pid), "postgres": psutil.Process(postgres.pid)}
        client = stack.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {app.secret_key.text}"},
                timeout=ANSWERS_WITHIN.total_seconds(),
                trust_env=False,
            )
        )
        until(lambda: _ready(client), within=OPENS_WITHIN, what="the front door is open")
        yield House(client=client, simulator=simulator, processes=processes, valkey=valkey_version(valkey.url))


def watch_idle(house: House, *, span: timedelta) -> list[Idle]:
    """What each part takes while nothing is asked for so long."""
    before = {part: _cpu(process) for part, process in house.processes.items()}
    began = time.monotonic()
    time.sleep(span.total_seconds())
    seconds = time.monotonic() - began
    return [
        _idle(part, process, cpu=100 * max(0.0, _cpu(process) - before[part]) / seconds)
        for part, process in house.processes.items()
    ]


def _idle(part: str, process: psutil.Process, *, cpu: float) -> Idle:
    memory = [full for one in _family(process) if (full := _memory(one))]
    shares = [full.pss for full in memory if hasattr(full, "pss")]
    return Idle(
        part=part,
        processes=len(memory),
        memory=sum(full.rss for full in memory) / MB,
        proportional=sum(shares) / MB if len(shares) == len(memory) else None,
        cpu=cpu,
    )


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _memory(process: psutil.Process) -> Any:
    try:
        return process.memory_full_info()
    except psutil.NoSuchProcess:
        return None


def _cpu(process: psutil.Process) -> float:
    seconds = 0.0
    for one in _family(process):
        # PostgreSQL's helpers come and go.
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system
    return seconds
