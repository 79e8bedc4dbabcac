"""What became of a message: where it is, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec

from backroom.domain.errors import Invalid
from backroom.domain.trace import parse
from backroom.queue.wire import Ending, Envelope, decode

State = Literal["queued", "scheduled", "running", "retrying", "done", "dead", "cancelled", "expired", "unknown"]
OVER: frozenset[State] = frozenset({"done", "dead", "cancelled", "expired"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """One message's life, as far as it is known. What is over is known for an hour, or as long as its job says.

    Attributes:
        id: The message.
        state: `queued`, may be taken; `scheduled`, due later; `running`; `retrying`, due later after a failed attempt;
            `done`, `dead`, `cancelled`, `expired`; `unknown`, never sent or long forgotten.
        job: What was asked; empty where the body is gone or cannot be read.
        queue: Where it waits or waited.
        sent: When it was sent.
        due: When it may run, if that is later.
        attempts: How many attempts failed.
        errors: What the last of these said.
        progress: How far a running job says it is, 0 to 1.
        note: What it says about that; or why it ended.
        result: What it returned.
        ended: When it ended, where that was noted.
        worker: Who works on it.
        cancelling: Whether somebody wants it cancelled.
        trace: The W3C trace that it belongs to; empty where there is none, or the message is gone.
        body: The message on the wire; empty where it is gone.
    """

    id: str
    state: State
    job: str = ""
    queue: str = ""
    sent: datetime | None = None
    due: datetime | None = None
    attempts: int = 0
    errors: Sequence[str] = ()
    progress: float | None = None
    note: str = ""
    result: Any = None
    ended: datetime | None = None
    worker: str = ""
    cancelling: bool = False
    trace: str = ""
    body: bytes = b""


def life(id: str, reply: Sequence[Any]) -> Life:
    """What the find script says."""
    state, body, ending, progress, due, worker, cancelling = reply
    if ending:
        return _ended(id, ending)
    found = _message(id, body) if body else None
    if found is None:
        return Life(id=id, state=cast("State", state.decode()), body=body)
    attempts = int(found.options.get("attempt", 0))
    share, _, note = progress.decode(errors="replace").partition("|")
    said = cast("State", state.decode())
    trace = parse(found.options.get("trace"))
    return Life(
        id=id,
        state="retrying" if said == "scheduled" and attempts else said,
        job=found.actor_name,
        queue=found.queue_name,
        sent=_time(found.message_timestamp),
        due=_time(due) if due else None,
        attempts=attempts,
        errors=tuple(found.options.get("errors", ())),
        progress=float(share) if share else None,
        note=note or ("no worker knows this job" if said == "scheduled" and "parked" in found.options else ""),
        worker=worker.decode(),
        cancelling=bool(cancelling),
        trace=trace.id if trace else "",
        body=body,
    )


def _ended(id: str, ending: bytes) -> Life:
    end = msgspec.json.decode(ending, type=Ending)
    return Life(
        id=id,
        state=cast("State", end.state),
        attempts=end.attempts,
        errors=tuple(end.errors),
        note=end.note,
        result=None if isinstance(end.result, msgspec.UnsetType) else msgspec.json.decode(end.result),
        ended=_time(end.at),
    )


def _message(id: str, body: bytes) -> Envelope | None:
    try:
        return decode(body, id=id)
    except Invalid:
        return None


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)
