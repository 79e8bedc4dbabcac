"""Open clients to Valkey that never repeat a command by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from backroom.domain.errors import QueueAway
from backroom.queue import faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TIMEOUT = timedelta(seconds=5)
CHECK_IDLE = timedelta(seconds=30)
MOST_CONNECTIONS = 64
# More than a process has threads, each of which uses one at a time.
MOST_THREADS = 1_024

# How a script's first line begins that needs more than the common chunk.
NEEDS = "-- needs "

# What a broken idle connection looks like; a time-out is no such thing, for the command may still be running.
BROKEN = (redis.ConnectionError, ConnectionError)


def open_client(url: str, *, timeout: timedelta = TIMEOUT) -> redis.Redis:
    """A client for threads. A command that fails is not repeated: who knows that it may be, does it."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), max_connections=MOST_THREADS, **_limits(timeout))


def open_async_client(url: str, *, timeout: timedelta = TIMEOUT, most: int = MOST_CONNECTIONS) -> redis.asyncio.Redis:
    """A client for an event loop; otherwise like `open_client`.

    Who finds every connection in use waits for one, as long as for an answer: a crowd is served, not turned away.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        retry=AsyncRetry(NoBackoff(), 0),
        max_connections=most,
        timeout=timeout.total_seconds(),
        **_limits(timeout),
    )
    return redis.asyncio.Redis.from_pool(pool)


def without_retries(client: redis.Redis) -> redis.Redis:
    """The same client, which from now on never repeats a command by itself.

    A fetch that is repeated behind our back would leave the first reply's messages with nobody.
    """
    client.set_retry(Retry(NoBackoff(), 0))
    return client


@contextmanager
def queue_away() -> Iterator[None]:
    """Translate every error of the engine into `QueueAway`."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise QueueAway(f"{type(error).__name__}: {error}") from error


class Script:
    """A Lua script of ours, run by its digest and loaded when the engine does not know it."""

    def __init__(self, client: redis.Redis, name: str, *, prefix: str) -> None:
        self._script = client.register_script(source(name))
        self._keys = [base(prefix)]
        self._point = f"mid_{name}"

    def __call__(self, *args: str | bytes | float) -> Any:
        """Run it, and return the engine's reply as it is."""
        if faults.armed:
            faults.unheard(self._point, self._script, self._keys, args)
        return self._script(keys=self._keys, args=args)

    def repeatable(self, *args: str | bytes | float) -> Any:
        """The same for a script that may be repeated: once more where the other side had closed an idle connection."""
        try:
            return self(*args)
        except BROKEN:
            return self(*args)


class AsyncScript:
    """The same for an event loop."""

    def __init__(self, client: redis.asyncio.Redis, name: str, *, prefix: str) -> None:
        self._script = cast("Callable[..., Awaitable[Any]]", client.register_script(source(name)))
        self._keys = [base(prefix)]

    async def __call__(self, *args: str | bytes | float) -> Any:
        """Run it, and return the engine's reply as it is."""
        return await self._script(keys=self._keys, args=args)

    async def repeatable(self, *args: str | bytes | float) -> Any:
        """The same for a script that may be repeated: once more where the other side had closed an idle connection."""
        try:
            return await self(*args)
        except BROKEN:
            return await self(*args)


@cache
def source(name: str) -> str:
    """A script with the chunks before it that it needs: the common one, and those that its first line names."""
    text = _chunk(name)
    first, _, _ = text.partition("\n")
    needs = first.removeprefix(NEEDS).split() if first.startswith(NEEDS) else []
    return "\n".join([*map(_chunk, ["common", *needs]), text])


def _chunk(name: str) -> str:
    return (files("backroom.queue") / "lua" / f"{name}.lua").read_text("utf-8")


def base(prefix: str) -> str:
    """What every key of one Backroom starts with; the braces keep them in one slot of a cluster."""
    return f"{{{prefix}}}:"


def _limits(timeout: timedelta) -> dict[str, Any]:
    return {
        "socket_timeout": timeout.total_seconds(),
        "socket_connect_timeout": timeout.total_seconds(),
        "socket_keepalive": True,
        "health_check_interval": CHECK_IDLE.total_seconds(),
    }
