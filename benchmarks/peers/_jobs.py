"""The jobs that every peer runs: nothing at all, one call of Valkey, and a look at the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from benchmarks.peers._place import Place
from benchmarks.peers._tally import Tally

EFFECT = "bench:effect"


@cache
def tally() -> Tally:
    """This process's. Opened before its first job: two threads may not make one each."""
    return Tally(Place.here().tally)


@cache
def engine() -> Any:
    """The client of jobs that run in threads."""
    import redis

    return redis.Redis.from_url(Place.here().valkey)


@cache
def async_engine() -> Any:
    """The client of jobs that run on an event loop."""
    import redis.asyncio

    return redis.asyncio.Redis.from_url(Place.here().valkey)


def nothing(_number: int) -> None:
    """It is the work of a message that is measured."""
    tally().count()


def call(number: int) -> None:
    """One round trip to Valkey."""
    engine().hincrby(EFFECT, number % 100)
    tally().count()


def pick_up(number: int) -> None:
    """How long ago it was sent."""
    tally().waited(number)
    tally().count()


async def async_nothing(number: int) -> None:
    """The same on an event loop."""
    nothing(number)


async def async_call(number: int) -> None:
    """The same on an event loop."""
    await async_engine().hincrby(EFFECT, number % 100)
    tally().count()


async def async_pick_up(number: int) -> None:
    """The same on an event loop."""
    pick_up(number)


JOBS: dict[str, Callable[[int], None]] = {"nothing": nothing, "call": call, "pick_up": pick_up}
ASYNC_JOBS: dict[str, Callable[[int], Awaitable[None]]] = {
    "nothing": async_nothing,
    "call": async_call,
    "pick_up": async_pick_up,
}
