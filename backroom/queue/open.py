"""Open clients to Valkey that never repeat a command by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio
from redis.asyncio.connection import UnixDomainSocketConnection as AsyncUnix
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import UnixDomainSocketConnection as Unix
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from backroom.domain.errors import QueueAway
from backroom.queue import faults
from backroom.queue.address import Address, read_address
from backroom.queue.following import AsyncFollowing, AsyncFollowingTls, Following, FollowingTls
from backroom.queue.route import AskCluster, AskSentinel, AsyncRoute, Question, Route

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


def open_client(url: str, *, prefix: str = "", timeout: timedelta = TIMEOUT) -> redis.Redis:
    """A client for threads. A command that fails is not repeated: who knows that it may be, does it.

    Args:
        url: One server, a primary behind Sentinel, or a cluster; see `address.py`.
        prefix: What every key starts with; a cluster is asked who has its slot.
        timeout: How long to wait for a connection, and for an answer.

    Raises:
        Invalid: The address is wrong.
    """
    address = read_address(url)
    options = _options(address, timeout=timeout, retry=Retry(NoBackoff(), 0))
    if question := _question(address, prefix=prefix):
        options["route"] = Route(question, address.hosts, options=_asking(address, options), timeout=timeout)
    kind = Unix if address.path else FollowingTls if address.tls is not None else Following
    pool = redis.ConnectionPool(connection_class=kind, max_connections=MOST_THREADS, **options, **_place(address))
    return redis.Redis.from_pool(pool)


def open_async_client(
    url: str, *, prefix: str = "", timeout: timedelta = TIMEOUT, most: int = MOST_CONNECTIONS
) -> redis.asyncio.Redis:
    """A client for an event loop; otherwise like `open_client`.

    Who finds every connection in use waits for one, as long as for an answer: a crowd is served, not turned away.
    """
    address = read_address(url)
    options = _options(address, timeout=timeout, retry=AsyncRetry(NoBackoff(), 0))
    if question := _question(address, prefix=prefix):
        options["route"] = AsyncRoute(question, address.hosts, options=_asking(address, options), timeout=timeout)
    kind = AsyncUnix if address.path else AsyncFollowingTls if address.tls is not None else AsyncFollowing
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=kind,
        max_connections=most,
        timeout=timeout.total_seconds(),
        **options,
        **_place(address),
    )
    return redis.asyncio.Redis.from_pool(pool)


def without_retries(client: redis.Redis) -> redis.Redis:
    """The same client, which from now on never repeats a command by itself.

    A fetch that is repeated behind our back would leave the first reply's messages with nobody.

    Raises:
        TypeError: It is a client of another kind, such as redis-py's own for clusters, which cannot be kept from it.
    """
    if not isinstance(client, redis.Redis):
        raise TypeError(f"{type(client).__name__} repeats commands by itself: give an address, as redis+cluster://host")
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
        return self.counted(*args)[0]

    def counted(self, *args: str | bytes | float) -> tuple[Any, int]:
        """As `repeatable`; the reply, and how often it was asked for."""
        try:
            return self(*args), 1
        except BROKEN:
            return self(*args), 2


class Ask:
    """Any script of ours that may be repeated, by its name.

    Every call raises `QueueAway` where the engine does not answer.
    """

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._open = cache(lambda name: Script(client, name, prefix=prefix))

    def __call__(self, name: str, *args: str | bytes | float) -> Any:
        """Run it, and return the engine's reply as it is."""
        with queue_away():
            return self._open(name).repeatable(*args)


def in_rows(values: Sequence[Any], width: int) -> list[Sequence[Any]]:
    """The flat reply of a script, so many values at a time."""
    return [values[at : at + width] for at in range(0, len(values), width)]


class AsyncScript:
    """A `Script` for an event loop."""

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


def _options(address: Address, *, timeout: timedelta, retry: Retry | AsyncRetry) -> dict[str, Any]:
    options = {
        **address.login,
        **(address.tls or {}),
        "retry": retry,
        "socket_timeout": timeout.total_seconds(),
        "socket_connect_timeout": timeout.total_seconds(),
        "health_check_interval": CHECK_IDLE.total_seconds(),
        # Announcements of one vendor's service, asked for with every connect, and unknown elsewhere.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    return options if address.path else {**options, "socket_keepalive": True}


def _place(address: Address) -> dict[str, Any]:
    if address.path:
        return {"path": address.path}
    return {"host": address.hosts[0].name, "port": address.hosts[0].port}


def _question(address: Address, *, prefix: str) -> Question | None:
    if address.kind == "sentinel":
        return AskSentinel(address.service)
    if address.kind == "cluster":
        if not prefix:
            raise ValueError("a cluster is asked who has the slot of a prefix: say which")
        return AskCluster(base(prefix))
    return None


def _asking(address: Address, options: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in address.login}
    login = {name: value for name, value in address.login.items() if name in {"username", "password"}}
    return {
        **kept,
        **(address.sentinel_login if address.kind == "sentinel" else login),
        "ssl": address.tls is not None,
        "health_check_interval": 0,
    }
