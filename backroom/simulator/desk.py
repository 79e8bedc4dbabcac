"""What the three carriers share: the letterbox, ids, the time and the patience to say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import falcon.asgi
import structlog
import uuid_utils

from backroom.simulator.letter import Letter, Outcome
from backroom.simulator.letterbox import Letterbox
from backroom.simulator.magic import Behaviour

log = structlog.get_logger()

# Longer than any client of ours waits, short enough that a forgotten connection goes away.
SILENCE = timedelta(seconds=90)
DRAIN_LIMIT = 67_108_864
DRAIN_STEP = 65_536
# One recipient decides for the whole request, and the loudest wins.
_LOUDEST = (Outcome.REFUSED, Outcome.FAILED, Outcome.LIMITED, Outcome.UNANSWERED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """Where carriers bring their letters.

    Attributes:
        box: Keeps them.
        closing: Set when the server stops, so that nothing goes on being silent.
        now: The time.
    """

    box: Letterbox
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def new_id(self) -> str:
        """An id for a letter."""
        return str(uuid_utils.uuid7())

    def stamp(self) -> str:
        """The time as a letter carries it."""
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def keep(self, letter: Letter) -> Letter:
        """Keep a letter."""
        kept = self.box.put(letter)
        log.debug("letter.kept", letter=kept.id, carrier=kept.carrier, outcome=kept.outcome, attempt=kept.attempt)
        return kept

    async def say_nothing(self) -> None:
        """Return after longer than anybody waits, or when the server stops."""
        try:
            await asyncio.wait_for(self.closing.wait(), SILENCE.total_seconds())
        except TimeoutError:
            return


def loudest(behaviours: Iterable[Behaviour]) -> Outcome | None:
    """The outcome that one recipient forces on the whole request; None where each letter has its own."""
    outcomes = {behaviour.outcome for behaviour in behaviours}
    return next((outcome for outcome in _LOUDEST if outcome in outcomes), None)


async def body_of(req: falcon.asgi.Request, *, limit: int) -> bytes | None:
    """The body of a request, or None where it is over the limit."""
    if (req.content_length or 0) <= limit:
        body: bytes = await req.stream.read(limit + 1)
        if len(body) <= limit:
            return body
    # A client that is cut off while it still sends reports a broken pipe instead of the answer.
    drained = 0
    while drained < DRAIN_LIMIT and (chunk := await req.stream.read(DRAIN_STEP)):
        drained += len(chunk)
    return None
