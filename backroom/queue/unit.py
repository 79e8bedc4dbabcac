"""Posts that travel together in one call of the engine, and what the engine says about each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import uuid_utils

from backroom.domain.errors import Full
from backroom.queue.wire import Argument, Post, Posted, milliseconds, sealed

if TYPE_CHECKING:
    from backroom.queue.hot import HotPut

MOST_IN_A_CALL = 500
MOST_BYTES_IN_A_CALL = 8 * 1024 * 1024

# What `send.lua` says of a post; zero is one that was seen before.
_FRESH, _CONFLICT = 1, 2
_OTHER_VERSION, _REFUSED = -1, -2
# When a queue that takes nothing more is worth asking again.
_WORTH_ASKING = {"draining": timedelta(seconds=30), "long": timedelta(seconds=5), "late": timedelta(seconds=5)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Posts that are enqueued all or, where a queue is full or a hot value has changed, not at all.

    Attributes:
        args: As the send script takes them.
        posts: How many there are.
        bytes: How large they are.
    """

    args: list[Argument]
    posts: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of a unit.

    Attributes:
        version: Of the hot value; None where it had another one than expected: then nothing was enqueued.
        posted: What became of each post.
    """

    version: int | None
    posted: list[Posted]


def units(posts: Sequence[Post], *, always: bool = False) -> list[Unit]:
    """Posts in as few units as they fit into.

    Args:
        posts: In their order.
        always: Whether they are enqueued however full their queues are: work that follows from work.

    Raises:
        Invalid: One of them cannot be sent.
    """
    return [unit(posts[at : at + MOST_IN_A_CALL], always=always) for at in range(0, len(posts), MOST_IN_A_CALL)]


def unit(posts: Sequence[Post], *, hot: HotPut | None = None, always: bool = False) -> Unit:
    """Posts in one unit, perhaps with a change of a hot value.

    Raises:
        Invalid: One of them cannot be sent.
    """
    args: list[Argument] = [0]
    if hot is not None:
        expected = "" if hot.expected is None else hot.expected
        # The nonce makes a repeated put see itself rather than a conflict.
        nonce = str(uuid_utils.uuid7())
        args = [1, hot.key, expected, hot.value, int(hot.ended), max(1, milliseconds(hot.ttl)), nonce]
    args += [int(always), len(posts)]
    size = len(hot.value) if hot else 0
    for post in posts:
        values = sealed(post)
        body = values[3]
        size += len(body) if isinstance(body, bytes) else 0
        args += values
    return Unit(args=args, posts=len(posts), bytes=size)


def arguments(units: Sequence[Unit]) -> list[Argument]:
    """Units as one call of the send script."""
    return [len(units), *(value for unit in units for value in unit.args)]


def answers(reply: Iterable[Any], units: Sequence[Unit]) -> Iterator[Answer | Full]:
    """What the engine said about each unit; `Full` where a queue takes nothing more."""
    values = list(reply)
    at = 0
    for one in units:
        version = int(values[at])
        posts = values[at + 1 : at + 1 + 2 * one.posts]
        at += 1 + 2 * one.posts
        if version == _REFUSED:
            queue, why = _text(posts[0]), _text(posts[1])
            yield Full(f"the queue {queue}", after=_WORTH_ASKING.get(why, timedelta(seconds=5)), why=why)
        else:
            yield Answer(version=None if version == _OTHER_VERSION else version, posted=_posted(posts))


def _posted(values: Sequence[Any]) -> list[Posted]:
    return [
        Posted(id=_text(values[at]), fresh=int(values[at + 1]) == _FRESH, conflict=int(values[at + 1]) == _CONFLICT)
        for at in range(0, len(values), 2)
    ]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
