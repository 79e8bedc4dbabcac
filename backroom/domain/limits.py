"""What a job may declare about when its messages run: how urgent, how often, how many at once, how many of a kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import quote

import msgspec

Priority = Literal["urgent", "normal", "bulk"]

MOST_KEY_CHARS = 200
# `/` divides a limit's name from its values.
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many starts per period, evenly spread (GCRA, as in ITU-T I.371).

    Attributes:
        count: How many.
        per: In which time.
        burst: How many may start at once after a quiet time; then one each `per / count`.
    """

    count: int
    per: timedelta
    burst: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.burst < 1 or self.per < timedelta(milliseconds=1):
            raise ValueError(f"{self}: count and burst are 1 at least, and the period a millisecond")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """How many messages with the same values may start in a time, or run at once, over all workers.

    A message that would exceed it waits in the store, without an attempt being counted, and without holding up others.

    Attributes:
        name: Its name; jobs that name the same limit share it.
        by: Fields of the message whose values have a limit each, such as `("app",)`; none for one over all.
        rate: How many start in a time; None for any number.
        concurrent: How many run at once; 0 for any number.
    """

    name: str
    by: tuple[str, ...] = ()
    rate: Rate | None = None
    concurrent: int = 0

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"{self.name!r} is no name for a limit: a-z first, then a-z 0-9 . _ -, 64 at most")
        if self.concurrent < 0 or not (self.rate or self.concurrent):
            raise ValueError(f"the limit {self.name} limits nothing: give it a rate, or how many run at once")

    def key(self, message: object) -> str:
        """The limit that one message counts for: the name, then its values."""
        return "/".join([self.name, *_values(message, self.by)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Unique:
    """One message at a time stands for all with the same values.

    Attributes:
        by: Fields of the message that make it the same; None: all of them.
        until: `begun`, another may be enqueued once it runs; `over`, once it is done, dead or cancelled.
        period: If set, another may be enqueued only after this time, whatever became of the first.
        replace: Whether a later message takes the place of one that still waits, with its own delay; otherwise it is
            the later one that is not enqueued.
    """

    by: tuple[str, ...] | None = None
    until: Literal["begun", "over"] = "over"
    period: timedelta | None = None
    replace: bool = False

    def __post_init__(self) -> None:
        if self.period is not None and self.period < timedelta(milliseconds=1):
            raise ValueError("a job is unique for a millisecond at least")

    def key(self, job: str, message: object) -> str:
        """What makes a message of a job the same as another."""
        if self.by is not None:
            return "/".join([job, *_values(message, self.by)])
        return f"{job}/{hashlib.sha256(msgspec.json.encode(message, order='deterministic')).hexdigest()}"


def _values(message: object, fields: Sequence[str]) -> list[str]:
    found = message if isinstance(message, dict) else {name: getattr(message, name) for name in fields}
    return [_safe(str(found[name])) for name in fields]


def _safe(value: str) -> str:
    text = quote(value, safe="")
    # What is too long for a key is told apart by its digest.
    return text if len(text) <= MOST_KEY_CHARS else hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
