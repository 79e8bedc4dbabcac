"""Connections that lead to the node which takes writes, wherever that is now.

Each asks for the way when it connects. It is closed as soon as its node says that it does not serve us, which is an
answer to what was asked: nothing was done. The next use then asks for the way anew.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import Connection as AsyncTcp
from redis.asyncio.connection import SSLConnection as AsyncTls
from redis.connection import Connection, SSLConnection
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError
from redis.utils import str_if_bytes

from backroom.queue.address import Host
from backroom.queue.route import AsyncRoute, NotServed, Route, Way

# Redis 6 wraps what a script met in an error of its own, and a blocked client has no name for its error in redis-py.
_SAYS = ("-READONLY ", "UNBLOCKED ", "-CLUSTERDOWN ", "-MASTERDOWN ")


def not_served(error: redis.ResponseError, *, by: Host, way: Way | None) -> NotServed | None:
    """What this error is if it says that another node serves us, or none; otherwise None.

    `ASK` and `TRYAGAIN` are no such thing. They say that our slot is on its way from node to node. A script reaches
    keys that it cannot name beforehand, so it must not run until all of them have arrived: that is worth waiting for.
    """
    if isinstance(error, MovedError):
        if way is not None:
            way.moved_to = Host(error.host or by.name, error.port)
        return NotServed(f"{by} has given our slot away")
    if isinstance(error, ReadOnlyError | ClusterDownError) or any(said in str(error) for said in _SAYS):
        return NotServed(f"{by} does not take writes: {error.status_code or error}")
    return None


def _must_be_primary(role: Any, *, host: Host) -> None:
    if str_if_bytes(role[0]) != "master":
        raise NotServed(f"{host} is not the primary that it was said to be")


class Following(Connection):
    """A connection to a port. Without a route always to the same one, where another machine may answer by then."""

    def __init__(self, *, route: Route | None = None, **options: Any) -> None:
        self._route = route
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis has no types here

    @property
    def _there(self) -> Host:
        return Host(self.host, self.port)

    def connect(self) -> None:
        """Connect, unless this is done already and to where the primary was seen last."""
        if self._route and self.is_connected and self._route.is_left(self._there):
            self.disconnect()  # type: ignore[no-untyped-call]  # redis has no types here
        super().connect()  # type: ignore[no-untyped-call]  # redis has no types here

    def _connect(self) -> Any:
        if self._route:
            self.host, self.port = self._route.find()
        return super()._connect()  # type: ignore[no-untyped-call]  # redis has no types here

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - its signature
        """Say who we are, and be sure to whom."""
        super().on_connect_check_health(check_health=check_health)
        if self._route and self._route.question.confirm:
            self.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call]  # redis has no types here
            _must_be_primary(self.read_response(), host=self._there)

    def read_response(self, *args: Any, **options: Any) -> Any:
        """A reply."""
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as error:
            if (wrong := not_served(error, by=self._there, way=self._route)) is None:
                raise
            self.disconnect()  # type: ignore[no-untyped-call]  # redis has no types here
            raise wrong from error


class FollowingTls(Following, SSLConnection):
    """The same with TLS."""


class AsyncFollowing(AsyncTcp):
    """A connection to a port, for an event loop; otherwise like `Following`."""

    def __init__(self, *, route: AsyncRoute | None = None, **options: Any) -> None:
        self._route = route
        super().__init__(**options)

    @property
    def _there(self) -> Host:
        return Host(self.host, self.port)

    async def connect(self) -> None:
        """Connect, unless this is done already and to where the primary was seen last."""
        if self._route and self.is_connected and self._route.is_left(self._there):
            await self.disconnect()
        await super().connect()  # type: ignore[no-untyped-call]  # redis has no types here

    async def _connect(self) -> None:
        if self._route:
            self.host, self.port = await self._route.find()
        await super()._connect()  # type: ignore[no-untyped-call]  # redis has no types here

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - its signature
        """Say who we are, and be sure to whom."""
        await super().on_connect_check_health(check_health=check_health)
        if self._route and self._route.question.confirm:
            await self.send_command("ROLE", check_health=False)
            _must_be_primary(await self.read_response(), host=self._there)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """A reply."""
        try:
            return await super().read_response(*args, **options)
        except redis.ResponseError as error:
            if (wrong := not_served(error, by=self._there, way=self._route)) is None:
                raise
            await self.disconnect(nowait=True)
            raise wrong from error


class AsyncFollowingTls(AsyncFollowing, AsyncTls):
    """The same with TLS."""
