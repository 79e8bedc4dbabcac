"""The shape of a message on the wire: Dramatiq's own fields, as JSON."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import msgspec

from backroom.domain.errors import Invalid
from backroom.domain.limits import Priority

# The newest form of a body that this code reads. A body of a newer form says so in its option `wire`, and waits for
# code that reads it; such code reads the older ones, too.
WIRE = 1

MOST_BYTES = 256 * 1024
MOST_ERRORS = 3
MOST_ERROR_CHARS = 500
MOST_ONCE_KEY_CHARS = 300
MOST_UNIQUE_KEY_CHARS = 1_000

# The first character of a line: what the engine's scripts order by.
CLASSES: dict[Priority, str] = {"urgent": "1", "normal": "2", "bulk": "3"}
USUAL_LINE = CLASSES["normal"]

_QUEUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]{0,99}\Z")
_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_APP = re.compile(r"[\x21-\x7e]{0,100}\Z")
_LIMIT = re.compile(r"[a-z][\x21-\x7e]{0,1000}\Z")

Argument = str | bytes | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Once:
    """Enqueue only if no message was sent with this key within the window.

    Attributes:
        key: What must not repeat, scoped by whoever chose it.
        window: How long the key is remembered.
        fingerprint: Of the payload; the same key with another fingerprint is a conflict.
    """

    key: str
    window: timedelta
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOfAKind:
    """Enqueue only if no message that waits, runs, or was sent a short time ago stands for the same key.

    Attributes:
        key: What makes two messages the same.
        mode: `q` while one waits, `r` until one is over, `p` for the period after one was sent.
        period: For mode `p`.
        replace: Take the place of one that still waits.
    """

    key: str
    mode: Literal["q", "r", "p"]
    period: timedelta = timedelta(0)
    replace: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """A message to put on the queue.

    Attributes:
        job: The job's name.
        queue: The queue it waits in.
        message: The payload: anything that msgspec encodes.
        id: Its identity; a second post with the same id enqueues nothing.
        delay: How long it waits before it may run.
        once: When it must not be enqueued twice for another reason than its id.
        answer: Whether somebody waits for its outcome.
        priority: Which class of its queue it waits in.
        app: Whose it is; applications take turns within a class.
        unique: When another message stands for it.
        limits: Keys of the limits it counts for.
        expires: How long after now it may still begin.
        trace: The W3C `traceparent` of what it follows from, or an empty string.
    """

    job: str
    queue: str
    message: object
    id: str
    delay: timedelta = timedelta(0)
    once: Once | None = None
    answer: bool = False
    priority: Priority = "normal"
    app: str = ""
    unique: OneOfAKind | None = None
    limits: tuple[str, ...] = ()
    expires: timedelta | None = None
    trace: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """What became of a post.

    Attributes:
        id: The message that stands for it: its own, or the first one sent with its once-key.
        fresh: Whether it was enqueued now, rather than seen before.
        conflict: Whether the once-key was used with another fingerprint; then nothing was enqueued.
    """

    id: str
    fresh: bool
    conflict: bool = False


class Envelope(msgspec.Struct, kw_only=True):
    """A message's body on the wire. The names are Dramatiq's."""

    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: int


class Ending(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How a message ended, where there is more to tell than that it is done.

    Attributes:
        state: done, cancelled or expired.
        at: When (ms since 1970).
        attempts: How many failed before.
        errors: What the last of these said.
        result: What the job returned.
        note: Why.
    """

    state: str
    at: int
    attempts: int = 0
    errors: list[str] = msgspec.field(default_factory=list)
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    note: str = ""


# Options that the queue counts with.
_NUMBERS = frozenset({"wire", "parked", "attempt", "handed_on"})

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """The body of a message.

    Raises:
        Invalid: It cannot be written as JSON, is too large, or its queue or id cannot be a key.
    """
    check_queue(envelope.queue_name)
    if not _ID.match(envelope.message_id) or "|" in envelope.message_id:
        raise Invalid("/id", "is not a message id", "visible ASCII without '|', 200 characters at most")
    try:
        body = pack(envelope)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Invalid("", f"cannot be written as JSON: {error}") from error
    if len(body) > MOST_BYTES:
        raise Invalid("", f"is {len(body)} bytes on the wire", f"at most {MOST_BYTES}")
    return body


def check_queue(name: str) -> None:
    """Let a queue's name pass that can be a key.

    Raises:
        Invalid: It cannot.
    """
    if not _QUEUE.match(name):
        raise Invalid("/queue", "is not a queue's name", "letters, digits, '.', '_' and '-', 100 at most")


def pack(envelope: Envelope) -> bytes:
    """The body of a message that was accepted before, whatever has been noted in it since."""
    return _encoder.encode(envelope)


def decode(body: bytes, *, id: str) -> Envelope:
    """The message of a body that was stored under an id.

    Raises:
        Invalid: It is not a message, or another one's.
    """
    try:
        envelope = _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Invalid("", f"cannot be decoded: {error}") from error
    if envelope.message_id != id:
        raise Invalid("/message_id", "is not the id that the message was stored under")
    for name in _NUMBERS & envelope.options.keys():
        if not isinstance(envelope.options[name], int):
            raise Invalid(f"/options/{name}", "is not a number")
    return envelope


def sealed(post: Post) -> list[Argument]:
    """A post as `enqueue.lua` takes it: id, queue, line, body, delay in ms, and the rest as JSON.

    Raises:
        Invalid: It cannot be sent; see `encode`.
    """
    line = line_of(post.priority, post.app)
    options: dict[str, Any] = {}
    if post.answer:
        options["answer"] = True
    if line != USUAL_LINE:
        options["line"] = line
    if post.trace:
        options["trace"] = post.trace
    body = encode(
        Envelope(
            queue_name=post.queue,
            actor_name=post.job,
            args=[],
            kwargs={"message": post.message},
            options=options,
            message_id=post.id,
            message_timestamp=time.time_ns() // 1_000_000,
        )
    )
    return [post.id, post.queue, line, body, milliseconds(post.delay), _more(post)]


def line_of(priority: Priority, app: str) -> str:
    """The line of a queue that a message waits in.

    Raises:
        Invalid: The priority or the application cannot be part of a key.
    """
    if priority not in CLASSES:
        raise Invalid("/priority", "is not a priority", "urgent, normal or bulk")
    if not _APP.match(app) or "|" in app:
        raise Invalid("/app", "cannot be part of a key", "visible ASCII without '|', 100 characters at most")
    return CLASSES[priority] + app


def _more(post: Post) -> bytes:
    more: dict[str, str | int | bool] = {}
    if post.once is not None:
        more |= _once(post.once)
    if post.unique is not None:
        more |= _unique(post.unique)
    if post.expires is not None:
        more["ttl"] = max(1, milliseconds(post.expires))
    if post.limits:
        more["limits"] = ",".join(map(_limit, post.limits))
    return _encoder.encode(more) if more else b""


def _once(once: Once) -> dict[str, str | int | bool]:
    if not 0 < len(once.key) <= MOST_ONCE_KEY_CHARS:
        raise Invalid("/once", "is not a key", f"1 to {MOST_ONCE_KEY_CHARS} characters")
    return {"once": once.key, "window": max(1, milliseconds(once.window)), "fingerprint": once.fingerprint}


def _unique(unique: OneOfAKind) -> dict[str, str | int | bool]:
    if not 0 < len(unique.key) <= MOST_UNIQUE_KEY_CHARS:
        raise Invalid("/unique", "is not a key", f"1 to {MOST_UNIQUE_KEY_CHARS} characters")
    more: dict[str, str | int | bool] = {"unique": unique.key, "mode": unique.mode}
    if unique.mode == "p":
        more["period"] = max(1, milliseconds(unique.period))
    if unique.replace:
        more["replace"] = True
    return more


def _limit(key: str) -> str:
    if not _LIMIT.match(key) or "," in key or "|" in key:
        raise Invalid("/limits", "is not the key of a limit", "its name, then its values, divided by '/'")
    return key


def milliseconds(span: timedelta) -> int:
    """A duration in the unit that scripts take."""
    return max(0, round(span / timedelta(milliseconds=1)))
