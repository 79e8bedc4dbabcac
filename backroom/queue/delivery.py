"""A delivery: one message, or a batch of them, in the hands of a worker until each is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, Protocol

import msgspec
from dramatiq import Message, MessageProxy

from backroom.queue.decisions import Again, Dead, Decision, Done
from backroom.queue.wire import Argument, Ending, Envelope, milliseconds, pack

MOST_REASON_CHARS = 500
# How long the id of a message is remembered after its end, at least: a repeated enqueue does nothing.
TOMBSTONE = timedelta(minutes=10)

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


class Held(NamedTuple):
    """One message under a lease.

    Attributes:
        message: What is asked.
        token: The fence: a decision with an older one is refused.
        nth: Which delivery of it this is; 1 is the first.
    """

    message: Message[Any]
    token: int
    nth: int


class Order(NamedTuple):
    """What the settle script is to do about one message.

    Attributes:
        what: done, again, dead or release.
        id: The message.
        token: The fence.
        ms: How long to wait, or to remember the end.
        body: The message as it is from now on, or its ending.
        note: The reason, or how it travels from now on.
        posts: What is enqueued in the same step, if this is still ours to decide.
    """

    what: str
    id: str
    token: int
    ms: int = 0
    body: bytes = b""
    note: str = ""
    posts: Sequence[Sequence[Argument]] = ()

    def arguments(self) -> list[Argument]:
        """As the settle script takes it."""
        head: list[Argument] = [self.what, self.id, self.token, self.ms, self.body, self.note, len(self.posts)]
        return [*head, *(value for post in self.posts for value in post)] if self.posts else head


class Holder(Protocol):
    """Who holds a delivery for whoever works on it."""

    def begin(self, delivery: Delivery) -> bool:
        """Whether it is still there to begin."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """Have what was decided carried out."""
        ...


class Delivery(MessageProxy):
    """What Dramatiq's worker handles. Its text names the job and the id only, because Dramatiq logs it."""

    def __init__(self, held: tuple[Held, ...], *, hub: Holder, lane: Lane, batch: bool) -> None:
        message = _batch_message(held) if batch else held[0].message
        super().__init__(message)
        # Read by every middleware: a proxy would look each of them up.
        self.queue_name, self.actor_name, self.message_id = message.queue_name, message.actor_name, message.message_id
        self.args, self.kwargs, self.options = message.args, message.kwargs, message.options
        self.held = held
        self.hub = hub
        self.lane = lane
        self.decisions: Mapping[str, Decision] = {}
        self.otherwise: Decision | None = None
        self.settled = False
        self.result: object = None
        self._posts: list[Sequence[Argument]] = []

    def hand_on(self, post: Sequence[Argument]) -> None:
        """Enqueue something in the same step in which the first message of this delivery is settled."""
        self._posts.append(post)

    def decide(self, decision: Decision, *, except_for: Mapping[str, Decision] | None = None) -> None:
        """Decide about every message in it; the last word counts."""
        self.otherwise = decision
        self.decisions = except_for or {}

    def orders(self) -> list[Order]:
        """What the settle script is to do."""
        otherwise = self.otherwise or (Dead(reason=self._why_failed()) if self.failed else Done())
        together = len(self.held) > 1
        orders = [
            order(one, self.decisions.get(one.message.message_id, otherwise), lane=self.lane, together=together)
            for one in self.held
        ]
        if self._posts:
            orders[0] = orders[0]._replace(posts=tuple(self._posts))
        return orders

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
    message, token = held.message, held.token
    if isinstance(decision, Done):
        return Order("done", message.message_id, token, _remembered(decision.kept), _ending(message, decision))
    if isinstance(decision, Again):
        after = min(decision.after, LONGEST_ORDERED_WAIT) if lane.ordered else decision.after
        # What failed in company is tried alone, so that one message cannot take the others with it.
        note = " ".join(["alone"] * (together and decision.counted) + ["ordered"] * lane.ordered)
        body = pack(envelope(message))
        return Order(what="again", id=message.message_id, token=token, ms=milliseconds(after), body=body, note=note)
    if isinstance(decision, Dead):
        reason = decision.reason[:MOST_REASON_CHARS]
        return Order(what="dead", id=message.message_id, token=token, body=pack(envelope(message)), note=reason)
    return Order(what="release", id=message.message_id, token=token)


@cache
def _remembered(kept: timedelta) -> int:
    return milliseconds(max(TOMBSTONE, kept))


def _ending(message: Message[Any], done: Done) -> bytes:
    """What there is to tell about an end; nothing where everybody would guess it."""
    if not done.kept:
        return b""
    attempts = int(message.options.get("attempt", 0))
    if done.state == "done" and done.result is None and not attempts:
        return b""
    ending = Ending(
        state=done.state,
        at=time.time_ns() // 1_000_000,
        attempts=attempts,
        errors=message.options.get("errors", []),
        result=msgspec.Raw(done.result) if done.result is not None else msgspec.UNSET,
    )
    return msgspec.json.encode(ending)


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
