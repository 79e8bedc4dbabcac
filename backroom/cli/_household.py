"""What `backroom up` keeps in its home between two starts: the lock, the secret, the first key, the ports."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from backroom.domain.errors import CannotStart
from backroom.embedded.note import write_private

# What readers of its letters see, so a word that reads well there.
FIRST_APPLICATION = "shop"
NEWCOMER = "ada"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is not secret."""

    simulator_port: int = 0
    simulator_smtp_port: int = 0
    newcomer: bool = False


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home for this process; the kernel lets go of it when the process ends, however it ends.

    Raises:
        CannotStart: Another `backroom up` holds it.
    """
    path = home / "up.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = path.read_text(encoding="ascii").strip()
            raise CannotStart(
                f"{home} is in use by another `backroom up`" + (f" (process {holder})" if holder else ""),
                mend="stop that one, or choose another home and port: BACKROOM_HOME=.backroom2 PORT=8001 make up",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def is_locked(home: Path) -> bool:
    """Whether a `backroom up` runs in this home."""
    try:
        lock = os.open(home / "up.lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def secret(home: Path) -> str:
    """The secret kept in the home, made the first time."""
    path = home / "secret"
    if not path.exists():
        write_private(path, f"{secrets.token_urlsafe(48)}\n".encode())
    return path.read_text(encoding="ascii").strip()


def key_file(home: Path, given_database_url: str) -> Path:
    """Where the first application's key is kept: one file for each database that this home was used with."""
    if not given_database_url:
        return home / "key"
    parts = urlsplit(given_database_url)
    which = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    return home / f"key-{hashlib.sha256(which.encode()).hexdigest()[:8]}"


def first_key(database_url: str, *, house_secret: str, file: Path, ours: bool) -> bool:
    """See to it that there is an application and that its key is kept in `file`; returns whether it is a new one.

    Args:
        database_url: The owner's address.
        house_secret: Keys the stored hash.
        file: Where the key is kept.
        ours: Whether the database is this home's own: then a lost key is replaced. In a database that was given to us,
            applications that are there already keep their keys to themselves.
    """
    from backroom.store import admin  # noqa: PLC0415 - slow to load, and not for `--help`

    apps = admin.list_applications(database_url)
    if apps and (file.exists() or not ours):
        return False
    key = house_secret.encode()
    made = (
        admin.create_key(database_url, app=apps[0][0], kind="secret", secret=key)
        if apps
        else admin.create_application(database_url, name=FIRST_APPLICATION, secret=key).secret_key
    )
    write_private(file, f"{made.text}\n".encode())
    return True


def recall(home: Path) -> Memory:
    """What the last start noted; nothing if it cannot be read, for all of it can be found anew."""
    try:
        return msgspec.json.decode((home / "up.json").read_bytes(), type=Memory)
    except (FileNotFoundError, msgspec.DecodeError):
        return Memory()


def remember(home: Path, memory: Memory) -> None:
    """Note it for the next start."""
    write_private(home / "up.json", msgspec.json.format(msgspec.json.encode(memory)))
