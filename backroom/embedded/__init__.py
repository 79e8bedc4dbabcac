"""Real engines from wheels: a Valkey and a PostgreSQL that belong to one home and end with whoever started them.

Both listen on the loopback address alone, with passwords that the home keeps. A second start finds yesterday's data on
yesterday's ports. A process that starts a home which another one already runs shares its engines.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from backroom.domain.errors import CannotStart
from backroom.embedded.postgres import PostgresServer
from backroom.embedded.server import Server
from backroom.embedded.valkey import ValkeyServer

__all__ = ["Engine", "Engines"]


@dataclass(frozen=True)
class Engine:
    """An engine that answers."""

    name: str
    url: str
    pid: int
    log: Path


class Engines:
    """The engines of one home.

    ```python
    with Engines(home) as engines:
        print(engines.valkey.url, engines.postgres.url)
    ```

    Start them from a thread that lives as long as they should: Linux ends them with the thread that started them.

    Args:
        home: Where data, ports, passwords and logs are kept.
        tether: Whether the engines end with this process, even if it is killed. Otherwise the next start adopts them.
    """

    def __init__(self, home: Path, *, tether: bool = True) -> None:
        self.home = Path(os.path.abspath(home))  # noqa: PTH100 - a link stays what the user calls it
        self.valkey: Engine | None = None
        self.postgres: Engine | None = None
        self._tether = tether
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, valkey: bool = True, postgres: bool = True, fast: bool = False) -> None:
        """Start what is asked for, or find it running; returns when it answers.

        Args:
            valkey: Whether Valkey is wanted.
            postgres: Whether PostgreSQL is wanted.
            fast: For tests: an engine may forget what a power cut would have cost it anyway.

        Raises:
            CannotStart: One did not come up; none is left behind.
        """
        try:
            open_home(self.home)
            if valkey:
                self._start(ValkeyServer(self.home, fast=fast, tether=self._tether))
            if postgres:
                self._start(PostgresServer(self.home, fast=fast, tether=self._tether))
        except PermissionError as error:
            self.stop()
            raise CannotStart(
                f"{error.filename or self.home}: {error.strerror}",
                mend=f"is {self.home} another user's? Run as that user, or set BACKROOM_HOME to a folder of your own",
            ) from error
        except BaseException:
            self.stop()
            raise

    def find(self) -> None:
        """Set `valkey` and `postgres` to those that run now; starts, adopts and stops nothing."""
        for server in (
            ValkeyServer(self.home, fast=False, tether=True),
            PostgresServer(self.home, fast=False, tether=True),
        ):
            if pid := server.find():
                self._set(server, pid)

    def ended(self) -> list[str]:
        """The names of engines that have ended unasked."""
        return [name for name, server in self._servers.items() if server.ended]

    def revive(self, name: str) -> Engine:
        """Start an engine that has ended once more, on the same port if that is still free.

        Raises:
            CannotStart: It does not come up.
        """
        return self._start(self._servers[name])

    def stop(self) -> None:
        """Stop what this process owns, the last started first."""
        while self._servers:
            _, server = self._servers.popitem()
            server.stop()
        self.valkey = self.postgres = None

    def _start(self, server: Server) -> Engine:
        self._servers[server.name] = server
        server.start()
        return self._set(server, server.pid)

    def _set(self, server: Server, pid: int) -> Engine:
        engine = Engine(server.name, server.url(server.note), pid, server.log)
        if server.name == ValkeyServer.name:
            self.valkey = engine
        else:
            self.postgres = engine
        return engine


def open_home(home: Path) -> None:
    """Make the home folder; only we can look into it, though PostgreSQL's user may pass through where we are root."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0 and home.stat().st_uid == 0:
        home.chmod(0o711)
    (home / "logs").mkdir(mode=0o700, exist_ok=True)
