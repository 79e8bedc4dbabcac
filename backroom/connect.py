"""Opens what the settings point at: clients to Valkey, pools to PostgreSQL, the house's secret."""

from __future__ import annotations

from datetime import timedelta

import redis
import redis.asyncio
from sqlalchemy import Engine

from backroom.domain.errors import Invalid
from backroom.queue.open import open_async_client, open_client
from backroom.settings import Settings
from backroom.store.engine import Door, open_engine

# HMAC-SHA-256 gains nothing from more, and loses with less.
SHORTEST_SECRET = 32


def valkey(settings: Settings) -> redis.Redis:
    """A client for threads. Nothing is connected yet.

    Raises:
        Invalid: `REDIS_URL` is not set, or wrong.
    """
    return open_client(_given(settings.redis_url, "REDIS_URL"), prefix=settings.key_prefix)


def async_valkey(settings: Settings) -> redis.asyncio.Redis:
    """A client for the front door, which would rather say 503 than wait.

    Raises:
        Invalid: `REDIS_URL` is not set, or wrong.
    """
    url = _given(settings.redis_url, "REDIS_URL")
    return open_async_client(url, prefix=settings.key_prefix, timeout=queue_timeout(settings))


def queue_timeout(settings: Settings) -> timedelta:
    """How long the front door waits for Valkey."""
    return timedelta(milliseconds=settings.queue_timeout_ms)


def engine(settings: Settings, *, door: Door, connections: int | None) -> Engine:
    """A pool of connections in a door's role. Nothing is connected yet.

    Raises:
        Invalid: `DATABASE_URL` is not set.
    """
    return open_engine(
        _given(settings.database_url, "DATABASE_URL"),
        door=door,
        connect_timeout=timedelta(milliseconds=settings.store_timeout_ms),
        connections=connections,
    )


def secret(settings: Settings) -> bytes:
    """The house's own secret.

    Raises:
        Invalid: `BACKROOM_SECRET` is not set, or too short.
    """
    text = _given(settings.backroom_secret.get_secret_value(), "BACKROOM_SECRET")
    if len(text) < SHORTEST_SECRET:
        raise Invalid("BACKROOM_SECRET", "is too short", f"at least {SHORTEST_SECRET} random characters")
    return text.encode()


def _given(value: str, name: str) -> str:
    if not value:
        raise Invalid(name, "is not set", "`make up` sets it; `backroom doctor` says more")
    return value
