"""A delivery: one message, or a batch of them, in the hands of a worker until each is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dramatiq import Message, MessageProxy

from backroom.queue.decisions import Again, Dead, Decision, Done
from backroom.queue.wire import Envelope, milliseconds, pack

if TYPE_CHECKING:
    from backroom.queue.hub import Hub

Order = tuple[str, str, int, int, bytes, str]

MOST_REASON_CHARS = 500

# A message of an ordered queue keeps its turn while it waits for its next attempt, so the wait holds up the others.
LONGEST_ORDERED_WAIT = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """How the messages of one queue travel.

    Attributes:
        batch: How many at once at most; 0 for one by one.
        linger: How long a batch may wait for more once it has its first.
        ordered: Whether at most one delivery is in flight over all workers.
    """

    batch: int = 0
    linger: timedelta = timedelta(0)
    ordered: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One message under a lease.

    Attributes:
        message: What is asked.
        token: The fence: a decision with an older one is refused.
        nth: Which delivery of it this is; 1 is the first.
    """

    message: Message[Any]
    token: int
    nth: int


class Delivery(MessageProxy):
    """What Dramatiq's worker handles. Its text names the job and the id only, because Dramatiq logs it."""

    def __init__(self, held: tuple[Held, ...], *, hub: Hub, lane: Lane, batch: bool) -> None:
        super().__init__(_batch_message(held) if batch else held[0].message)
        self.held = held
        self.hub = hub
        self.lane = lane
        self.decisions: Mapping[str, Decision] | None = None
        self.otherwise: Decision | None = None
        self.settled = False

    def decide(self, decision: Decision, *, except_for: Mapping[str, Decision] | None = None) -> None:
        """Decide about every message in it; the last word counts."""
        self.otherwise = decision
        self.decisions = except_for or {}

    def orders(self) -> list[Order]:
        """What the settle script is to do."""
        chosen = self.decisions or {}
        otherwise = self.otherwise or (Dead(reason=self._why_failed()) if self.failed else Done())
        return [
            order(held, chosen.get(held.message.message_id, otherwise), lane=self.lane, together=len(self.held) > 1)
            for held in self.held
        ]

    def _why_failed(self) -> str:
        return str(self._exception or "rejected")

    def __str__(self) -> str:
        return f"{self.actor_name}[{self.message_id}]"

    def __repr__(self) -> str:
        return f"<Delivery {self}>"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def order(held: Held, decision: Decision, *, lane: Lane, together: bool = False) -> Order:
    """One decision in the words of the settle script."""
    message = held.message
    if isinstance(decision, Done):
        return ("done", message.message_id, held.token, 0, b"", "")
    if isinstance(decision, Again):
        after = min(decision.after, LONGEST_ORDERED_WAIT) if lane.ordered else decision.after
        # What failed in company is tried alone, so that one message cannot take the others with it.
        note = " ".join(["alone"] * (together and decision.counted) + ["ordered"] * lane.ordered)
        return ("again", message.message_id, held.token, milliseconds(after), pack(envelope(message)), note)
    if isinstance(decision, Dead):
        return ("dead", message.message_id, held.token, 0, pack(envelope(message)), decision.reason[:MOST_REASON_CHARS])
    return ("release", message.message_id, held.token, 0, b"", "")


def envelope(message: Message[Any]) -> Envelope:
    """One of Dramatiq's messages, as it travels."""
    return Envelope(
        queue_name=message.queue_name,
        actor_name=message.actor_name,
        args=list(message.args),
        kwargs=message.kwargs,
        options=message.options,
        message_id=message.message_id,
        message_timestamp=message.message_timestamp,
    )


def _batch_message(held: tuple[Held, ...]) -> Message[Any]:
    first = held[0].message
    return Message(
        queue_name=first.queue_name,
        actor_name=first.actor_name,
        args=([one.message for one in held],),
        kwargs={},
        options={},
        message_id=f"batch:{first.message_id}",
        message_timestamp=max(one.message.message_timestamp for one in held),
    )
