"""What a home remembers of an engine between two starts: its port, its passwords and where its data lies."""

from __future__ import annotations

import os
import random
import secrets
import socket
from pathlib import Path

import msgspec

from backroom.domain.errors import CannotStart

# Below the range that kernels hand out to outgoing connections, so that a remembered port stays free.
PORTS = range(15_000, 30_000)
PORT_TRIES = 200


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's note. It holds passwords, so its file is ours alone."""

    port: int
    password: str
    admin_password: str
    tethered: bool = True
    place: str = ""


def read(path: Path) -> Note | None:
    """The note at `path`, or None where there is none yet.

    Raises:
        CannotStart: There is one, but it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        # Starting anew would hide the data that its passwords open.
        raise CannotStart(
            f"{path} is damaged: {error}", mend="restore it, or remove the folder to start empty"
        ) from error


def write(path: Path, note: Note) -> None:
    """Keep `note`; after a crash there is the old one or the new one, never half of one."""
    write_private(path, msgspec.json.format(msgspec.json.encode(note)))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only we can read, all of it or nothing."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def new_password() -> str:
    """A password that needs no quoting in an address or a file."""
    return secrets.token_hex(24)


def free_port(remembered: int = 0) -> int:
    """The remembered port if nobody took it, else another one.

    Raises:
        CannotStart: None is free.
    """
    candidates = [remembered] if remembered else []
    candidates += random.sample(PORTS, PORT_TRIES)
    for port in candidates:
        if port_is_free(port):
            return port
    raise CannotStart(
        f"no free port found between {PORTS.start} and {PORTS.stop}", mend="stop what occupies the loopback address"
    )


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of an earlier listener that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
