"""A delivery: one message, or a batch of them, in the hands of a worker until each is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from dramatiq import Message, MessageProxy

from backroom.queue.decisions import Again, Dead, Decision, Done
from backroom.queue.dialect import HANDED_ON, as_sent, rewritten
from backroom.queue.wire import Envelope, encode, milliseconds

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


@dataclass(frozen=True, kw_only=True, slots=True)
class HandOn:
    """A message that follows from a delivery: it is enqueued if and only if the delivery is settled.

    Attributes:
        id: What it is stored under; when the delivery runs again after a crash, the same.
        queue: Where it goes.
        body: As it is on the wire.
        delay: How long it waits before it may run.
    """

    id: str
    queue: str
    body: bytes
    delay: timedelta


class Delivery(MessageProxy):
    """What Dramatiq's worker handles. A discreet one's text names the job and the id only: Dramatiq logs it."""

    def __init__(self, held: tuple[Held, ...], *, hub: Hub, lane: Lane, batch: bool) -> None:
        super().__init__(_batch_message(held) if batch else as_sent(held[0].message))
        self.held = held
        self.hub = hub
        self.lane = lane
        self.decisions: Mapping[str, Decision] | None = None
        self.otherwise: Decision | None = None
        self.hand_ons: list[HandOn] = []
        self.settled = False
        self.discreet = True

    def decide(self, decision: Decision, *, except_for: Mapping[str, Decision] | None = None) -> None:
        """Decide about every message in it; the last word counts."""
        self.otherwise = decision
        self.decisions = except_for or {}

    @property
    def message(self) -> Message[Any]:
        """What is asked."""
        return self._message

    def hand_on(self, envelope: Envelope, delay: timedelta) -> None:
        """Have a message enqueued together with what was decided.

        Raises:
            Invalid: It cannot be sent.
        """
        self.hand_ons.append(
            HandOn(id=envelope.message_id, queue=envelope.queue_name, body=encode(envelope), delay=delay)
        )

    def next_hand_on_id(self) -> str:
        """An id for a message that follows from this one.

        It is drawn from what is stored, so it is the same when a crash has the delivery run again, and another one
        after a failed attempt.
        """
        first = self.held[0].message
        nth = first.options.get(HANDED_ON, 0) + 1
        first.options[HANDED_ON] = nth
        return str(uuid5(NAMESPACE_OID, f"{first.message_id}/{nth}"))

    def forget(self) -> None:
        """Take back what was decided and handed on: it has turned out otherwise."""
        self.decisions = self.otherwise = None
        self.hand_ons.clear()
        self.failed = False

    def orders(self) -> list[Order]:
        """What the settle script is to do."""
        chosen = self.decisions or {}
        otherwise = self.otherwise or (Dead(reason=self.why_failed()) if self.failed else Done())
        return [
            order(held, chosen.get(held.message.message_id, otherwise), lane=self.lane, together=len(self.held) > 1)
            for held in self.held
        ]

    @property
    def error(self) -> BaseException | None:
        """What it failed with."""
        return self._exception

    def why_failed(self) -> str:
        """What the dead letter says."""
        return str(self._exception or "rejected")

    def __str__(self) -> str:
        return f"{self.actor_name}[{self.message_id}]" if self.discreet else super().__str__()

    def __repr__(self) -> str:
        return f"<Delivery {self}>" if self.discreet else super().__repr__()

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
        return ("again", message.message_id, held.token, milliseconds(after), rewritten(message), note)
    if isinstance(decision, Dead):
        return ("dead", message.message_id, held.token, 0, rewritten(message), decision.reason[:MOST_REASON_CHARS])
    return ("release", message.message_id, held.token, 0, b"", "")


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
