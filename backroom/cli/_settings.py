"""What the house at hand runs with: the environment's settings, completed by what `backroom up` keeps in its home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from pydantic import SecretStr

from backroom.domain.errors import CannotStart
from backroom.settings import Settings, settings

if TYPE_CHECKING:
    import redis

    from backroom.queue.ops import Queues


def house_settings() -> Settings:
    """The settings, completed by what a `backroom up` in this home runs or has kept. Nothing is started.

    Raises:
        Invalid: A variable has a value that its setting does not take.
    """
    given = settings()
    home = given.home
    found: dict[str, Any] = {}
    if not given.backroom_secret.get_secret_value() and (home / "secret").exists():
        found["backroom_secret"] = SecretStr((home / "secret").read_text(encoding="ascii").strip())
    if not (given.redis_url and given.database_url) and home.exists():
        found |= _engines(given, home)
    if not given.simulator_url:
        found |= _simulator(home)
    return given.model_copy(update=found)


def need_valkey(given: Settings) -> Settings:
    """The same settings, if they say where Valkey is.

    Raises:
        CannotStart: They do not.
    """
    if not given.redis_url:
        raise _nothing_runs("Valkey", "REDIS_URL", given)
    return given


def need_postgres(given: Settings) -> Settings:
    """The same settings, if they say where PostgreSQL is.

    Raises:
        CannotStart: They do not.
    """
    if not given.database_url:
        raise _nothing_runs("PostgreSQL", "DATABASE_URL", given)
    return given


def find_app(given: Settings, name: str) -> str:
    """The id of an application, by its name.

    Raises:
        Invalid: There is none of this name.
        StoreAway: PostgreSQL does not answer.
    """
    from backroom.store.admin import list_applications  # noqa: PLC0415 - slow to load, and not for `--help`
    from backroom.words.near import unknown  # noqa: PLC0415

    ids = {known: id for id, known in list_applications(given.database_url)}
    if name not in ids:
        raise unknown("APP", "application", name, ids)
    return ids[name]


@contextmanager
def open_queue() -> Iterator[tuple[Settings, redis.Redis]]:
    """A client to the queue's engine, closed at the end.

    Raises:
        CannotStart: Nobody says where Valkey is.
    """
    # Not by way of `backroom.connect`, which opens both engines and so loads SQLAlchemy: half of a command's start.
    from backroom.queue.open import open_client  # noqa: PLC0415 - slow to load, and not for `--help`

    given = need_valkey(house_settings())
    client = open_client(given.redis_url, prefix=given.key_prefix)
    try:
        yield given, client
    finally:
        client.close()


@contextmanager
def open_queues() -> Iterator[Queues]:
    """The queues, to look at and to mend.

    Raises:
        CannotStart: Nobody says where Valkey is.
    """
    from backroom.queue.ops import Queues  # noqa: PLC0415

    with open_queue() as (given, client):
        yield Queues(client, prefix=given.key_prefix)


def _engines(given: Settings, home: Path) -> dict[str, str]:
    from backroom.embedded import Engines  # noqa: PLC0415 - not needed where both engines are given

    engines = Engines(home)
    engines.find()
    found = {}
    if engines.valkey and not given.redis_url:
        found["redis_url"] = engines.valkey.url
    if engines.postgres and not given.database_url:
        found["database_url"] = engines.postgres.url
    return found


def _simulator(home: Path) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    try:
        told = msgspec.json.decode((home / "simulator" / "address.json").read_bytes())
        if psutil.pid_exists(told["pid"]):
            return {"simulator_url": told["url"], "simulator_smtp_port": told["smtp_port"]}
    except (OSError, msgspec.DecodeError, LookupError, TypeError):
        # Not there, or left behind half-written: then there is no simulator to speak of.
        return {}
    return {}


def _nothing_runs(engine: str, variable: str, given: Settings) -> CannotStart:
    return CannotStart(
        f"no {engine} runs in {given.backroom_home}",
        mend=f"run `backroom up` in another terminal, or set {variable} (BACKROOM_HOME names another home)",
    )
