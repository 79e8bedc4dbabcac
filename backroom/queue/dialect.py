"""Dramatiq's messages as they travel in our envelopes, and back.

An envelope is JSON, so that everybody can read it. A message that JSON cannot carry as it is (another encoder was set
with `dramatiq.set_encoder`, or it holds an infinity) travels sealed: the encoder's bytes, in base64, in the options.
What the queue itself notes in the options stays outside of the seal.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from dramatiq import Message, get_encoder
from dramatiq.common import current_millis
from dramatiq.encoder import JSONEncoder
from dramatiq.errors import DecodeError

from backroom.domain.errors import Invalid
from backroom.queue.wire import Envelope, pack

SEALED = "sealed"
# The id that the program knows, where the message is stored under another one: it was enqueued once more.
RUN_OF = "run_of"
# How many messages have followed from this one so far.
HANDED_ON = "handed_on"
NOTES = frozenset({"attempt", "errors", "parked", "answer", RUN_OF, HANDED_ON})

DRAMATIQ_MADE_IT_UP = 4
# A thousand years, for an `eta` that is infinite.
LONGEST_DELAY_MS = 365_000 * 86_400_000

log = structlog.get_logger()

# As Dramatiq's, but an infinity is refused.
_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def envelope(message: Message[Any], *, stored_as: str | None = None) -> Envelope:
    """A message as it travels.

    Args:
        message: Whose errors of encoding come out as they are.
        stored_as: An id of its own for this run of it; None for the message's.
    """
    options = {name: value for name, value in message.options.items() if name != RUN_OF}
    if stored_as is not None and stored_as != message.message_id:
        options[RUN_OF] = message.message_id
    return _envelope(message, options, stored_as or message.message_id)


def rewritten(message: Message[Any]) -> bytes:
    """The body of a message that was accepted before, without the notes in it that nobody can write down."""
    try:
        return pack(_envelope(message, message.options, message.message_id))
    except Exception:  # noqa: BLE001 - an encoder may raise anything, and a decision must not be lost by it
        options = {name: value for name, value in message.options.items() if _can_be_written(value)}
        return pack(_envelope(replace(message, options=options), options, message.message_id))


def opened(envelope: Envelope, *, queue: str) -> Message[Any]:
    """The message in an envelope; its id is the one that it is stored under.

    Raises:
        Invalid: Its seal cannot be opened with the encoder that is set here.
    """
    args, kwargs, options = envelope.args, envelope.kwargs, envelope.options
    if SEALED in options:
        try:
            sealed = Message.decode(base64.b64decode(options.pop(SEALED), validate=True))
        except (DecodeError, binascii.Error, TypeError, ValueError) as error:
            raise Invalid("/options/sealed", f"cannot be opened: {error}") from error
        carried = {name: value for name, value in sealed.options.items() if name not in NOTES}
        args, kwargs, options = list(sealed.args), sealed.kwargs, {**carried, **options}
    return Message(
        queue_name=queue,
        actor_name=envelope.actor_name,
        args=tuple(args),
        kwargs=kwargs,
        options=options,
        message_id=envelope.message_id,
        message_timestamp=envelope.message_timestamp,
    )


def as_sent(message: Message[Any]) -> Message[Any]:
    """A stored message under the id that the program knows; the options stay shared."""
    known_as = message.options.get(RUN_OF)
    return replace(message, message_id=known_as) if isinstance(known_as, str) else message


def delay_of(message: Message[Any], delay: int | None) -> timedelta:
    """How long a message waits: the delay in milliseconds, or until its `eta` where Dramatiq put one."""
    eta = message.options.get("eta") if delay is None else None
    if eta is not None and not isinstance(eta, (int, float)):
        log.warning("message.eta_ignored", id=message.message_id, queue=message.queue_name)
    wait = eta - current_millis() if isinstance(eta, (int, float)) else delay or 0
    return timedelta(milliseconds=min(max(0, wait), LONGEST_DELAY_MS))


def without_eta(message: Message[Any]) -> Message[Any]:
    """Dramatiq would hold a message with an `eta` in the memory of a worker until then; here the engine does."""
    if "eta" not in message.options:
        return message
    return replace(message, options={name: value for name, value in message.options.items() if name != "eta"})


def made_up(id: str) -> bool:
    """Whether Dramatiq has drawn this id, so that nobody can mean anything by its coming again."""
    try:
        return UUID(id).version == DRAMATIQ_MADE_IT_UP
    except ValueError:
        return False


def _envelope(message: Message[Any], options: dict[str, Any], id: str) -> Envelope:
    parts = _plain(message, options)
    if parts is None:
        notes = {name: value for name, value in options.items() if name in NOTES}
        parts = [], {}, {**notes, SEALED: base64.b64encode(message.encode()).decode()}
    args, kwargs, options = parts
    return Envelope(
        queue_name=message.queue_name,
        actor_name=message.actor_name,
        args=args,
        kwargs=kwargs,
        options=options,
        message_id=id,
        message_timestamp=message.message_timestamp,
    )


def _plain(message: Message[Any], options: dict[str, Any]) -> tuple[Any, Any, Any] | None:
    if type(get_encoder()) is not JSONEncoder:
        return None
    try:
        texts = [_to_json(part) for part in (message.args, message.kwargs, options)]
    except ValueError:
        return None
    if any("\\ud" in text for text in texts) and not all(_can_be_read(text) for text in texts):
        return None
    args, kwargs, options_text = (msgspec.Raw(text.encode()) for text in texts)
    return args, kwargs, options_text


def _can_be_read(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return False
    return True


def _can_be_written(value: object) -> bool:
    try:
        get_encoder().encode({"value": value})
    except Exception:  # noqa: BLE001 - an encoder may raise anything
        return False
    return True
