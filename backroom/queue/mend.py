"""Find messages that are in no place at all, because somebody has deleted a key by hand, and put them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from backroom.queue.open import Script, base, in_rows, queue_away

if TYPE_CHECKING:
    import redis

PAGE = 1_000
# Each stray is looked for in every place, while the engine does nothing else: so many places in one call.
PLACES_AT_ONCE = 500_000
MOST_AT_ONCE = 20


def mend(client: redis.Redis, *, prefix: str) -> int:
    """Put back into line what nobody would ever find; say how many messages that were.

    Reads every id that waits, in pages, so it is for after an accident and not for every day. What moves meanwhile is
    looked at again before anything is done.

    Raises:
        QueueAway: Valkey does not answer.
    """
    script, mended = Script(client, "mend", prefix=prefix), 0
    with queue_away():
        known = set(_placed(client, base(prefix)))
        stray = [id for id in _keys(client, f"{base(prefix)}msgs") if id not in known]
        some = max(1, min(MOST_AT_ONCE, PLACES_AT_ONCE // (len(known) + 1)))
        for ids in in_rows(stray, some):
            mended += int(script.repeatable(*ids))
    return mended


def _placed(client: redis.Redis, start: str) -> Iterator[bytes]:
    for key in _scan(client, f"{start}line:*"):
        yield from _list(client, key)
    for key in _scan(client, f"{start}limited:*"):
        yield from (entry.rpartition(b"|")[2] for entry in _list(client, key))
    for key in _scan(client, f"{start}delayed:*"):
        yield from (member.rpartition(b"|")[2] for member, _ in client.zscan_iter(key, count=PAGE))
    for key in _scan(client, f"{start}inflight:*"):
        yield from _keys(client, key)


def _scan(client: redis.Redis, pattern: str) -> Iterable[bytes]:
    escaped = pattern.replace("{", "\\{").replace("}", "\\}")
    return client.scan_iter(match=escaped, count=PAGE)


def _list(client: redis.Redis, key: bytes) -> Iterator[bytes]:
    at = 0
    while found := cast("list[bytes]", client.lrange(cast("Any", key), at, at + PAGE - 1)):
        yield from found
        at += PAGE


def _keys(client: redis.Redis, key: str | bytes) -> Iterator[bytes]:
    yield from (id for id, _ in client.hscan_iter(cast("Any", key), count=PAGE))
