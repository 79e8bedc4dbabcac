"""Write records: many in one transaction, in the order in which they were accepted, and each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from backroom.domain.job import AppMessage, job
from backroom.domain.record import CONFLICT, DELETED, MISSING, Condition, Kept, Outcome, Place, Write, decide
from backroom.tools import Tools


class WriteRecord(AppMessage, frozen=True, kw_only=True):
    """One change of one record.

    Attributes:
        op: The message's own id, which a batch job is not told otherwise.
        collection: Where the record is kept.
        owner: Whose it is; empty for the application itself.
        key: Its name there.
        value: What it becomes; None to delete it.
        condition: In which state it must be.
    """

    op: str
    collection: str
    owner: str = ""
    key: str
    value: dict[str, Any] | None = None
    condition: Condition = Condition()


# Few attempts: while one message is tried again, the writes behind it wait.
@job("record.write", batch=500, ordered=True, attempts=4, time_limit=timedelta(minutes=2))
def write_records(messages: Sequence[WriteRecord], tools: Tools) -> None:
    """Write, replace and delete records, each in the state that was asked for."""
    writes = [
        Write(
            id=message.op,
            place=Place(collection=message.collection, owner=message.owner, key=message.key),
            value=message.value,
            condition=message.condition,
        )
        for message in messages
    ]
    # Before anything is read: what another batch is just writing is part of the state.
    tools.write.records.take_turn()
    decided = decide(
        writes,
        kept=tools.write.records.kept(_places(writes)),
        done=tools.write.records.done([write.id for write in writes]),
    )
    tools.write.records.keep(decided.changed, at=tools.now())
    tools.write.records.remember(decided.fresh.values(), at=tools.now())
    for write, outcome, kept in decided.told:
        tools.answer(write.id, told(outcome, kept))


def _places(writes: Sequence[Write]) -> Mapping[Place, bool]:
    # Who loses against a condition is told what is there.
    wanted: dict[Place, bool] = {}
    for write in writes:
        wanted[write.place] = wanted.get(write.place, False) or write.condition != Condition()
    return wanted


def told(outcome: Outcome, kept: Kept | None) -> dict[str, Any]:
    """What a caller hears of an outcome, and of what is there."""
    if outcome.status == MISSING:
        return {"status": MISSING, "problem": {"slug": "not-found", "title": "There is nothing here"}}
    if outcome.status == CONFLICT:
        there = kept is not None and kept.value is not None
        current = {"version": kept.version, "value": kept.value} if kept is not None and there else None
        return {
            "status": CONFLICT,
            "problem": {"slug": "condition-failed", "title": "The record is not in the state that was asked for"},
            "body": {"current": current},
            "etag": f'"{kept.version}"' if kept is not None and there else None,
        }
    if outcome.status == DELETED:
        return {"status": DELETED}
    return {"status": outcome.status, "etag": f'"{outcome.version}"', "body": {"version": outcome.version}}
