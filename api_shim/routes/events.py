"""Events of websites and apps, in the shape that libraries of the Segment family send."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import falcon
import falcon.asgi
import msgspec

from api_shim.body import decode, read_raw
from api_shim.caller import Caller, check_allowed, utc_now
from api_shim.contract import Answer, Parameter, speaks
from api_shim.door import Door, allow, new_id
from api_shim.problem import Problem, forbidden, too_large
from backroom.domain.errors import Invalid
from backroom.domain.event import SIGN_INS, Event, Said, read_event
from jobs.event_record import RecordEvents

# These libraries stop at 500 KB of their own, but some send more; what they cannot deliver they lose.
MOST_BYTES = 4_000_000
MOST_EVENT_BYTES = 32_768
MOST_EVENTS = 2_500
# It is kept with every event of its batch.
MOST_CONTEXT_BYTES = 8_192
# How much of a request travels as one message: well below what a message may weigh.
MOST_TOGETHER = 50
MOST_BYTES_TOGETHER = 128_000
# Above this, reading a body would hold up the other requests.
LARGE = 65_536

_CALLERS = frozenset({"app", "track", "user"})
# The browser library's own paths, which blockers of the long ones do not know.
_PATHS = {"track": "t", "page": "p", "screen": "s", "identify": "i", "group": "g", "alias": "a"}


class Batch(msgspec.Struct, rename="camel"):
    """Many events.

    Attributes:
        batch: The events, each with its `type`.
        context: Of each event that has none of its own.
        sent_at: When each was sent that does not say so itself; a wrong clock is corrected by it.
    """

    batch: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_EVENTS)]
    context: dict[str, Any] | None = None
    sent_at: datetime | None = None


class _Signed(msgspec.Struct, rename="camel"):
    write_key: str | None = None


class Taken(msgspec.Struct):
    """What these libraries want to hear.

    Attributes:
        success: It is on the queue.
    """

    success: Literal[True] = True


class RejectedEvent(msgspec.Struct, rename="camel"):
    """An event that was not kept.

    Attributes:
        index: Which of the batch, from 0.
        message_id: Its own id, where it has one.
        field: Where in the batch (JSON Pointer).
        wrong: What is wrong there.
        right: What would be right.
    """

    index: int
    message_id: str | None
    field: str
    wrong: str
    right: str


class TakenBatch(msgspec.Struct, omit_defaults=True):
    """What became of a batch.

    Attributes:
        success: The batch was read.
        accepted: How many events were kept, where not all were.
        rejected: The others.
    """

    success: bool
    accepted: int | None = None
    rejected: list[RejectedEvent] = []


_GZIP = Parameter(
    name="Content-Encoding",
    place="header",
    about="`gzip` for a body that is packed.",
    schema={"type": "string", "enum": ["gzip", "identity"]},
)
_PROBLEMS = {
    400: "The body cannot be read, or says something that cannot be: these libraries do not send it again.",
    415: "The body is packed in a way that is not known.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reject:
    """An event that is not kept, and why."""

    index: int
    event: msgspec.Raw
    fault: Invalid


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    found: dict[str, object] = {}
    for kind, letter in _PATHS.items():
        found[f"/v1/{kind}"] = found[f"/v1/{letter}"] = OneEvent(door, kind)
    found["/v1/batch"] = found["/v1/b"] = ManyEvents(door)
    return found


class _Open:
    """What pages of any website may call: the answer holds nothing but whether it worked."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow()
    async def on_options(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Let a browser ask first."""
        _welcome(resp)
        resp.set_header("Access-Control-Allow-Methods", "POST")
        resp.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Retry-Count")
        resp.set_header("Access-Control-Max-Age", "86400")
        resp.status = falcon.HTTP_204

    async def _received(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> tuple[Caller, bytes]:
        """Who sends, and what.

        Raises:
            Problem: 401 nobody known, 403 somebody else's key, 413 too large, 400 and 415 not readable.
        """
        _welcome(resp)
        raw = _unpacked(await read_raw(req, limit=MOST_BYTES), req.get_header("Content-Encoding") or "")
        caller: Caller | None = req.context.caller
        if caller is None:
            caller = await self._door.callers.recognise(req, write_key=decode(raw, _Signed).write_key or "")
            check_allowed(caller, _CALLERS)
        return caller, raw

    async def _keep(self, caller: Caller, events: Sequence[Event]) -> None:
        posts = [
            self._door.post(RecordEvents(app=caller.app, events=part))
            for part in _parts([_own(caller, one) for one in events])
        ]
        if posts:
            await self._door.sender.send(posts)


class OneEvent(_Open):
    """One event of one kind."""

    def __init__(self, door: Door, kind: str) -> None:
        super().__init__(door)
        self._kind = kind

    @allow("track", "app", "user")
    @speaks(takes=Said, asks=[_GZIP], gives={200: Answer(about="It is on the queue.", body=Taken)}, problems=_PROBLEMS)
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Accept the event: 200, because these libraries take any other success for a failure."""
        caller, raw = await self._received(req, resp)
        try:
            event = _read(raw, kind=self._kind, received_at=utc_now())
        except Invalid as fault:
            raise _refused(fault) from fault
        await self._keep(caller, [event])
        resp.data = msgspec.json.encode(Taken())


class ManyEvents(_Open):
    """Events of any kind."""

    @allow("track", "app", "user")
    @speaks(
        takes=Batch,
        asks=[_GZIP],
        gives={200: Answer(about="They are on the queue.", body=TakenBatch)},
        problems=_PROBLEMS,
    )
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Accept the good ones: 200, and the others are listed with what is wrong with each."""
        caller, raw = await self._received(req, resp)
        if len(raw) > LARGE:
            events, rejects = await asyncio.to_thread(_read_batch, raw)
        else:
            events, rejects = _read_batch(raw)
        await self._keep(caller, events)
        answer = TakenBatch(success=True)
        if rejects:
            answer.accepted, answer.rejected = len(events), [_shown(reject) for reject in rejects]
        resp.data = msgspec.json.encode(answer)


def _read_batch(raw: bytes) -> tuple[list[Event], list[_Reject]]:
    try:
        batch = decode(raw, Batch)
    except Invalid as fault:
        raise _refused(fault) from fault
    if batch.context and len(msgspec.json.encode(batch.context)) > MOST_CONTEXT_BYTES:
        raise _refused(Invalid("/context", "is too large for a whole batch", f"at most {MOST_CONTEXT_BYTES} bytes"))
    events: list[Event] = []
    rejects: list[_Reject] = []
    now = utc_now()
    for index, one in enumerate(batch.batch):
        try:
            events.append(_read(one, kind="", received_at=now, context=batch.context, sent_at=batch.sent_at))
        except Invalid as fault:
            rejects.append(_Reject(index=index, event=one, fault=fault))
    return events, rejects


def _read(
    raw: bytes | msgspec.Raw,
    *,
    kind: str,
    received_at: datetime,
    context: dict[str, Any] | None = None,
    sent_at: datetime | None = None,
) -> Event:
    content = bytes(raw)
    if len(content) > MOST_EVENT_BYTES:
        raise Invalid("", f"is {len(content)} bytes", f"at most {MOST_EVENT_BYTES}")
    try:
        said = decode(content, Said)
    except Problem as problem:
        # Half a character: wrong in this event, and no reason to refuse its neighbours.
        raise Invalid("", "is not JSON") from problem
    return read_event(
        said,
        kind=kind or said.type,
        received_at=received_at,
        new_id=new_id(),
        context=context,
        sent_at=sent_at,
    )


def _own(caller: Caller, event: Event) -> Event:
    """A user's token speaks for that user only; a visitor who has signed in is that user."""
    if event.name in SIGN_INS and caller.kind != "app":
        raise forbidden("sign-in events raise alerts: send them from your server, with a secret key")
    if caller.kind != "user":
        return event
    if event.user not in {"", caller.user}:
        raise forbidden("a user token sends its own user's events only")
    return msgspec.structs.replace(event, user=caller.user)


def _parts(events: Sequence[Event]) -> list[list[Event]]:
    parts: list[list[Event]] = []
    size = 0
    for event in events:
        weight = len(msgspec.json.encode(event))
        if not parts or len(parts[-1]) == MOST_TOGETHER or size + weight > MOST_BYTES_TOGETHER:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += weight
    return parts


def _unpacked(raw: bytes, encoding: str) -> bytes:
    if encoding.strip().lower() in {"", "identity"}:
        return raw
    if encoding.strip().lower() not in {"gzip", "x-gzip"}:
        raise Problem(415, "unknown-encoding", "This encoding is not known", headers={"Accept-Encoding": "gzip"})
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = unpacker.decompress(raw, MOST_BYTES + 1)
    except zlib.error as error:
        raise Problem(400, "not-gzip", "The body is not gzip, though it says so") from error
    if len(content) > MOST_BYTES:
        raise too_large(limit=MOST_BYTES)
    if not unpacker.eof:
        raise Problem(400, "not-gzip", "The body ends too early")
    return content


def _welcome(resp: falcon.asgi.Response) -> None:
    resp.set_header("Access-Control-Allow-Origin", "*")


def _refused(fault: Invalid) -> Problem:
    # 400 and not 422: what these libraries know as "do not send it again".
    return Problem(
        400,
        "invalid",
        "Something in the event is wrong",
        detail=str(fault),
        errors=[{"field": fault.field, "wrong": fault.wrong, "right": fault.right}],
    )


def _shown(reject: _Reject) -> RejectedEvent:
    return RejectedEvent(
        index=reject.index,
        message_id=_message_id(reject.event),
        field=f"/batch/{reject.index}{reject.fault.field}",
        wrong=reject.fault.wrong,
        right=reject.fault.right,
    )


def _message_id(event: msgspec.Raw) -> str | None:
    try:
        found = msgspec.json.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    id = found.get("messageId") if isinstance(found, dict) else None
    return id[:100] if isinstance(id, str) else None
