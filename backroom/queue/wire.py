"""The shape of a message on the wire: Dramatiq's own fields, as JSON."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from backroom.domain.errors import Invalid

MOST_BYTES = 256 * 1024
MOST_ERRORS = 3
MOST_ERROR_CHARS = 500

_QUEUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]{0,99}\Z")
_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")


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
    """

    job: str
    queue: str
    message: object
    id: str
    delay: timedelta = timedelta(0)
    once: Once | None = None
    answer: bool = False


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
    return envelope


def seal(post: Post) -> bytes:
    """The body of a post.

    Raises:
        Invalid: See `encode`.
    """
    return encode(
        Envelope(
            queue_name=post.queue,
            actor_name=post.job,
            args=[],
            kwargs={"message": post.message},
            options={"answer": True} if post.answer else {},
            message_id=post.id,
            message_timestamp=time.time_ns() // 1_000_000,
        )
    )


def milliseconds(span: timedelta) -> int:
    """A duration in the unit that scripts take."""
    return max(0, round(span / timedelta(milliseconds=1)))
