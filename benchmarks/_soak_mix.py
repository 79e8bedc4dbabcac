"""What is sent in an hour of load: how many a second of which kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import uuid_utils

from backroom.domain.job import Message
from backroom.domain.trace import begin
from backroom.queue.post import post_for
from backroom.queue.wire import Once, Post
from backroom.shelf import Shelves
from benchmarks._soak_shelf.jobs import batches, limits, lives
from benchmarks._soak_shelf.jobs._spans import QUEUE

SHELF = "benchmarks._soak_shelf"
APPS = tuple(f"app-{n}" for n in range(8))
PARTNERS = tuple(f"partner-{n}" for n in range(4))
UNKNOWN = "soak.unheard-of"
A_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One part of the mix.

    Attributes:
        rate: How many a second.
        message: Makes the n-th one's message.
        more: What else its post says.
        cancel: How long after it was sent somebody cancels it; None for never.
        awaited: Whether somebody waits for its outcome.
    """

    rate: float
    message: Callable[[int, str], Message]
    more: Callable[[int], Mapping[str, Any]] = field(default=lambda _: {})
    cancel: timedelta | None = None
    awaited: bool = False


def _seconds(n: int, most: int) -> timedelta:
    """Spread out, and the same in every run."""
    return timedelta(milliseconds=500 + n * 7919 % (most * 1000))


def _new() -> str:
    return str(uuid_utils.uuid7())


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "plain": Kind(rate=100, message=lambda n, app: lives.Note(app=app, n=n)),
        "without status": Kind(rate=60, message=lambda n, app: lives.Flood(app=app, n=n)),
        "traced": Kind(rate=5, message=lambda n, app: lives.Note(app=app, n=n), more=lambda _: {"trace": str(begin())}),
        "once": Kind(
            rate=5,
            message=lambda n, app: lives.Flood(app=app, n=n),
            # Every key is sent twice.
            more=lambda n: {"once": Once(key=f"soak-{n // 2}", window=A_MINUTE)},
        ),
        "failing, mostly mended": Kind(rate=8, message=lambda n, app: lives.Fail(app=app, n=n, chance=0.4)),
        "failing, never mended": Kind(rate=1, message=lambda n, app: lives.Fail(app=app, n=n, chance=1)),
        "delayed": Kind(
            rate=15, message=lambda n, app: lives.Later(app=app, n=n), more=lambda n: {"delay": _seconds(n, 20)}
        ),
        "unique while there": Kind(rate=10, message=lambda n, app: limits.Only(app=app, order=f"order-{n // 3}")),
        "unique for a minute": Kind(rate=5, message=lambda _, app: limits.Window(app=app, order=_new())),
        "the latest only": Kind(
            rate=0.25,
            message=lambda n, app: limits.Latest(app=app, order=f"order-{n // 2}"),
            # Every second one comes while the one before it waits.
            more=lambda _: {"delay": timedelta(seconds=5)},
        ),
        "limited, few": Kind(
            rate=20, message=lambda n, app: limits.Partner(app=app, partner=PARTNERS[n % len(PARTNERS)])
        ),
        "limited, each its own": Kind(rate=5, message=lambda _, app: limits.Customer(app=app, customer=_new())),
        "limited, asked while it runs": Kind(
            rate=5,
            message=lambda _, app: limits.Account(app=app, account="one"),
            # So that two come together, and one of them has to come back.
            more=lambda n: {"delay": timedelta(milliseconds=200 * (n % 2))},
        ),
        "too late": Kind(rate=0.1, message=lambda n, app: limits.Stale(app=app, n=n)),
        "batch": Kind(
            rate=40,
            message=lambda n, app: batches.Row(app=app, n=n, spoils=n % 400 == 0, leaves=n % 100 == 1),
        ),
        "ordered batch": Kind(rate=10, message=lambda n, _: batches.Step(app=APPS[0], n=n)),
        "long, with progress": Kind(rate=0.5, message=lambda _, app: lives.Long(app=app, seconds=1.5)),
        "cancelled while it runs": Kind(
            rate=0.3, message=lambda _, app: lives.Long(app=app, seconds=20), cancel=timedelta(seconds=1.5)
        ),
        "cancelled while it waits": Kind(
            rate=0.1,
            message=lambda n, app: lives.Later(app=app, n=n),
            more=lambda _: {"delay": A_MINUTE},
            cancel=timedelta(seconds=5),
        ),
        "snoozed": Kind(
            rate=2,
            message=lambda n, app: lives.Nap(app=app, until=datetime.now(UTC) + _seconds(n, 4)),
        ),
        "handing on": Kind(rate=5, message=lambda n, app: lives.Chain(app=app, n=n)),
        "awaited": Kind(
            rate=2, message=lambda n, app: lives.Ask(app=app, n=n), more=lambda _: {"answer": True}, awaited=True
        ),
        "isolated": Kind(rate=2, message=lambda n, app: lives.Apart(app=app, n=n)),
        "over its time limit": Kind(rate=0.1, message=lambda n, app: lives.Slow(app=app, n=n)),
    }
)
# Nobody knows this job, so it waits until somebody cancels it.
UNKNOWN_RATE = 0.1
UNKNOWN_CANCELLED = timedelta(seconds=45)
RATE = sum(kind.rate for kind in KINDS.values()) + UNKNOWN_RATE


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A post, and what becomes of it from outside."""

    post: Post
    cancel: timedelta | None = None
    awaited: bool = False


class Mix:
    """Makes what is due, in the order of the kinds."""

    def __init__(self) -> None:
        self._shelves = Shelves([SHELF])
        self._made = dict.fromkeys([*KINDS, UNKNOWN], 0)

    def due(self, seconds: float) -> Iterator[Wish]:
        """What should have been sent by now, and was not yet made."""
        for name, kind in KINDS.items():
            for n in self._numbers(name, kind.rate * seconds):
                message = kind.message(n, APPS[n % len(APPS)])
                post = post_for(self._shelves.job_for(type(message)), message, id=_new(), **kind.more(n))
                yield Wish(post=post, cancel=kind.cancel, awaited=kind.awaited)
        for n in self._numbers(UNKNOWN, UNKNOWN_RATE * seconds):
            post = Post(job=UNKNOWN, queue=QUEUE, message={"n": n}, id=_new())
            yield Wish(post=post, cancel=UNKNOWN_CANCELLED)

    def _numbers(self, name: str, wanted: float) -> range:
        first, self._made[name] = self._made[name], int(wanted)
        return range(first, self._made[name])
