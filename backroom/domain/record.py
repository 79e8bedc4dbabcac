"""What a write does to a record, and in which state it must find it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

# How long a message that is delivered again finds what it did the first time.
OUTCOMES_KEPT = timedelta(days=7)
# How long a deleted record's version is remembered: one that comes back meanwhile goes on counting, so that nobody
# who still holds an old version can take the new record for the one it knew.
VERSIONS_KEPT = timedelta(days=30)

WRITTEN, CREATED, DELETED, MISSING, CONFLICT = 200, 201, 204, 404, 412


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """Where a record is kept, in one application.

    Attributes:
        collection: What kind of thing it is.
        owner: The user it belongs to; empty for the application itself.
        key: Its name among those.
    """

    collection: str
    owner: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """In which state a write must find its record; by itself it asks for nothing.

    Attributes:
        exists: Whether it must be there (`If-Match: *`) or must not be (`If-None-Match: *`).
        versions: It must have one of these (`If-Match: "3"`).
    """

    exists: bool | None = None
    versions: tuple[int, ...] | None = None

    def holds(self, version: int | None) -> bool:
        """Whether a record of this version, or none, is in that state."""
        if self.exists is not None and self.exists != (version is not None):
            return False
        return self.versions is None or version in self.versions


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One change that somebody asked for.

    Attributes:
        id: Of the message that asks; the same id again is the same change.
        place: Of the record.
        value: What it becomes; None to delete it.
        condition: In which state it must be.
    """

    id: str
    place: Place
    value: dict[str, Any] | None
    condition: Condition


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What is kept at a place.

    Attributes:
        version: One more with every change, also with a deletion.
        value: None once it is deleted.
        born: Whether it was created, or came back, just now.
    """

    version: int
    value: dict[str, Any] | None
    born: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a write.

    Attributes:
        status: 200 replaced, 201 created, 204 deleted, 404 nothing to delete, 412 not in the state asked for.
        version: The record's version after that; 0 where there is none.
    """

    status: int
    version: int


@dataclass(kw_only=True, slots=True)
class Decided:
    """What many writes come to.

    Attributes:
        told: For each write, in order: its outcome, and what is kept at its place right after it.
        fresh: The outcomes of the writes that were not done before, by id.
        changed: What is to be kept from now on, by place.
    """

    told: list[tuple[Write, Outcome, Kept | None]] = field(default_factory=list)
    fresh: dict[str, tuple[Write, Outcome]] = field(default_factory=dict)
    changed: dict[Place, Kept] = field(default_factory=dict)


def decide(writes: Iterable[Write], *, kept: Mapping[Place, Kept], done: Mapping[str, Outcome]) -> Decided:
    """Decide about writes one after the other, each in the state that those before it left.

    Args:
        writes: In the order in which they were accepted.
        kept: What is kept now at their places.
        done: The outcomes of those that were done before, by id; these act no more.
    """
    decided = Decided()
    for write in writes:
        now = decided.changed.get(write.place) or kept.get(write.place)
        before = done.get(write.id) or (decided.fresh[write.id][1] if write.id in decided.fresh else None)
        if before is None:
            before, then = _apply(write, now)
            decided.fresh[write.id] = (write, before)
            if then is not now and then is not None:
                decided.changed[write.place] = now = then
        decided.told.append((write, before, now))
    return decided


def _apply(write: Write, now: Kept | None) -> tuple[Outcome, Kept | None]:
    version = now.version if now else 0
    there = now is not None and now.value is not None
    if not write.condition.holds(version if there else None):
        return Outcome(status=CONFLICT, version=version if there else 0), now
    if write.value is None:
        if not there:
            return Outcome(status=MISSING, version=0), now
        return Outcome(status=DELETED, version=version + 1), Kept(version=version + 1, value=None)
    born = not there or (now is not None and now.born)
    status = WRITTEN if there else CREATED
    return Outcome(status=status, version=version + 1), Kept(version=version + 1, value=write.value, born=born)
