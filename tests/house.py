"""A whole house inside a test: real engines, a real front door on a real port, a real worker."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dramatiq
import httpx
import psycopg
import uvicorn

from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.settings import Settings
from backroom.store.admin import Application, create_application
from tests import documented

T = TypeVar("T")

SECRET = "a secret of the tests, long enough to be one"


def until(condition: Callable[[], T], *, within: float = 30.0, every: float = 0.02, what: str = "") -> T:
    """Ask until the answer is true, or fail with what was hoped for. Dear questions are asked more seldom."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or condition}; last answer {answer!r}")
        time.sleep(every)
    return answer


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class TestHouse:
    """Settings, an application, and what is running of the house."""

    __test__ = False

    settings: Settings
    app: Application
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def database_url(self) -> str:
        return self.settings.database_url

    def queues(self) -> Queues:
        prefix = self.settings.key_prefix
        return Queues(open_client(self.settings.redis_url, prefix=prefix), prefix=prefix)

    def another_app(self, name: str = "") -> Application:
        return create_application(self.database_url, name=name or uuid.uuid4().hex, secret=SECRET.encode())

    def owner(self) -> psycopg.Connection[Any]:
        """A connection that no policy binds, to look at what is really there."""
        return self._stack.enter_context(psycopg.connect(self.database_url, autocommit=True))

    def open_door(self, **overrides: Any) -> str:
        """Start the front door in a thread; its address."""
        from api_shim.app import app, open_door

        settings = self.settings.model_copy(update=overrides)
        server = uvicorn.Server(
            uvicorn.Config(app(open_door(settings)), port=free_port(), log_level="warning", access_log=False)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        self._stack.callback(_stop_door, server, thread)
        until(lambda: server.started, what="the door is open")
        return f"http://127.0.0.1:{server.config.port}"

    def client(self, url: str = "", *, key: str | None = None, **options: Any) -> httpx.Client:
        """An application's HTTP client: with its secret key unless another key or an empty one is given.

        Every answer must be one that the door's document knows.
        """
        key = self.app.secret_key.text if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        hooks = {"response": [documented.check]}
        return self._stack.enter_context(
            httpx.Client(base_url=url or self.open_door(), headers=headers, timeout=15, event_hooks=hooks, **options)
        )

    def start_worker(self, *, threads: int = 4, **overrides: Any) -> dramatiq.Worker:
        """Start a worker in this process."""
        from workers.room import build

        broker = build(self.settings.model_copy(update=overrides))
        worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=threads)
        worker.start()
        self._stack.callback(_stop_worker, worker, broker)
        return worker

    def close(self) -> None:
        self._stack.close()


def _stop_door(server: uvicorn.Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join(15)


def _stop_worker(worker: dramatiq.Worker, broker: dramatiq.Broker) -> None:
    worker.stop(timeout=10_000)
    broker.close()


@contextlib.contextmanager
def cloned_database(server_url: str, template: str) -> Iterator[str]:
    """A database of its own, as the template is."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield server_url.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def settings_for(*, redis_url: str, database_url: str, home: Path, **more: Any) -> Settings:
    """Settings that read nothing from the environment, with patience: the machine may be busy with other tests."""
    return Settings(
        _env_file=None,
        queue_timeout_ms=more.pop("queue_timeout_ms", 5_000),
        store_timeout_ms=more.pop("store_timeout_ms", 5_000),
        redis_url=redis_url,
        database_url=database_url,
        backroom_home=home,
        backroom_secret=SECRET,
        key_prefix=f"t{uuid.uuid4().hex[:12]}",
        **more,
    )
