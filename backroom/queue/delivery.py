"""A delivery: one message, or a batch of them, in the hands of a worker until each is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, Protocol
from uuid import NAMESPACE_OID, uuid5

import msgspec
from dramatiq import Message, MessageProxy

from backroom.queue.decisions import Again, Dead, Decision, Done, Release
from backroom.queue.dialect import HANDED_ON, as_sent, rewritten
from backroom.queue.wire import Argument, Ending, Envelope, Post, encode, milliseconds, sealed

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
    """What Dramatiq's worker handles. A discreet one's text names the job and the id only: Dramatiq logs it."""

    def __init__(self, held: tuple[Held, ...], *, hub: Holder, lane: Lane, batch: bool, discreet: bool = True) -> None:
        message = _batch_message(held) if batch else as_sent(held[0].message)
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
        self.discreet = discreet
        self._posts: list[Sequence[Argument]] = []
        self._groups: dict[str, list[Sequence[Argument]]] = {}

    @property
    def message(self) -> Message[Any]:
        """What is asked."""
        return self._message

    def hand_on(self, envelope: Envelope, delay: timedelta, *, line: str) -> None:
        """Have a message enqueued in the same step in which this delivery is settled; if it is given back, not.

        Raises:
            Invalid: It cannot be sent.
        """
        body = encode(envelope)
        self._posts.append((envelope.message_id, envelope.queue_name, line, body, milliseconds(delay), b""))

    def follow_with(self, post: Post) -> None:
        """The same for one that a job asks for.

        Raises:
            Invalid: It cannot be sent.
        """
        self._posts.append(sealed(post))

    def count_for(self, member: Held, group: str, ttl_ms: int, posts: Sequence[Sequence[Argument]]) -> None:
        """Have a message counted for its group if and only if it is settled as done.

        Args:
            member: Which message of this delivery.
            group: What it belongs to.
            ttl_ms: How long the count is kept for the others.
            posts: What is enqueued in the same step if it is the last one.
        """
        self._groups[member.message.message_id] = [(group, b"", b"", b"", ttl_ms, b""), *posts]

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
        self.decisions, self.otherwise = {}, None
        self._posts.clear()
        self._groups.clear()
        self.failed = False

    def decide(self, decision: Decision, *, except_for: Mapping[str, Decision] | None = None) -> None:
        """Decide about every message in it; the last word counts."""
        self.otherwise = decision
        self.decisions = except_for or {}

    def orders(self) -> list[Order]:
        """What the settle script is to do."""
        otherwise = self.otherwise or (Dead(reason=self.why_failed()) if self.failed else Done())
        together = len(self.held) > 1
        orders = [
            order(one, self.decisions.get(one.message.message_id, otherwise), lane=self.lane, together=together)
            for one in self.held
        ]
        if self._posts and not isinstance(self.otherwise, Release):
            orders[0] = orders[0]._replace(posts=tuple(self._posts))
        return [self._counted(one, otherwise) for one in orders] if self._groups else orders

    def _counted(self, one: Order, otherwise: Decision) -> Order:
        decision = self.decisions.get(one.id, otherwise)
        if not isinstance(decision, Done) or decision.state != "done":
            return one
        return one._replace(posts=(*one.posts, *self._groups.get(one.id, ())))

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
    message, token = held.message, held.token
    if isinstance(decision, Done):
        return Order("done", message.message_id, token, _remembered(decision.kept), _ending(message, decision))
    if isinstance(decision, Again):
        after = min(decision.after, LONGEST_ORDERED_WAIT) if lane.ordered else decision.after
        # What failed in company is tried alone, so that one message cannot take the others with it.
        note = " ".join(["alone"] * (together and decision.counted) + ["ordered"] * lane.ordered)
        body = rewritten(message)
        return Order(what="again", id=message.message_id, token=token, ms=milliseconds(after), body=body, note=note)
    if isinstance(decision, Dead):
        reason = decision.reason[:MOST_REASON_CHARS]
        return Order(what="dead", id=message.message_id, token=token, body=rewritten(message), note=reason)
    return Order(what="release", id=message.message_id, token=token)


# Asked for with every message, and there are few different answers.
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
