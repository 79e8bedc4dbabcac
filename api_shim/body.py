"""Reads a request's body: never more than the limit, and with the wrong field named."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any, TypeVar

import falcon.asgi
import msgspec

from api_shim.problem import Problem, too_large
from backroom.domain.document import check_value
from backroom.domain.errors import Invalid
from backroom.domain.pointer import escaped

T = TypeVar("T")

# A megabyte over a bad line takes less; who sends a byte now and then must not hold a connection for ever.
LONGEST_READ = timedelta(seconds=30)

# More than a document that is kept may have: such a document's own limit is the one to tell.
MOST_LEVELS = 100

_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
# One for each type of body that a route takes: making one costs more than using it.
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


async def read_raw(req: falcon.asgi.Request, *, limit: int) -> bytes:
    """The body's bytes.

    Raises:
        Problem: 413, before reading where the length is announced; 408 where it does not come in time.
    """
    if (req.content_length or 0) > limit:
        raise too_large(limit=limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(LONGEST_READ.total_seconds()):
            async for chunk in req.stream:
                size += len(chunk)
                if size > limit:
                    raise too_large(limit=limit)
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(408, "too-slow", "The body did not come in time", headers={"Connection": "close"}) from None
    return b"".join(chunks)


def decode(raw: bytes, kind: type[T]) -> T:
    """The document in a body.

    Raises:
        Problem: 400 where it is not JSON.
        Invalid: Where a field is wrong, nested too deep, or has a NUL character; which one is said as a JSON Pointer.
    """
    try:
        found: T = _decoder(kind).decode(raw)
        _check_keepable(raw, found)
    except msgspec.ValidationError as error:
        raise place(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "not-json", "The body is not JSON", detail=str(error).replace("`", "")) from error
    return found


def place(error: msgspec.ValidationError) -> Invalid:
    """What msgspec says, with its path as a JSON Pointer (RFC 6901)."""
    says = str(error)
    match = _PLACE.search(says)
    wrong = says[: match.start()] if match else says
    steps = [name or number for name, number in _STEP.findall(match["path"])] if match else []
    if missing := re.search(r"missing required field `([^`]+)`|unknown field `([^`]+)`", wrong):
        steps.append(missing[1] or missing[2])
    pointer = "".join(f"/{escaped(step)}" for step in steps)
    return Invalid(pointer, wrong.replace("`", ""))


def _check_keepable(raw: bytes, found: object) -> None:
    # Most bodies can have neither, and are not walked. What stays raw is looked at by whoever decodes it.
    if rb"\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MOST_LEVELS:
        check_value(msgspec.to_builtins(found, enc_hook=lambda _raw: None), most=MOST_LEVELS)


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]
