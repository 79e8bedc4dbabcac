"""Reads a request's body: never more than the limit, and with the wrong field named."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import falcon.asgi
import msgspec

from api_shim.problem import Problem, too_large
from backroom.domain.errors import Invalid

T = TypeVar("T")

_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
# One for each type of body that a route takes: making one costs more than using it.
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


async def read_raw(req: falcon.asgi.Request, *, limit: int) -> bytes:
    """The body's bytes.

    Raises:
        Problem: 413, before reading where the length is announced.
    """
    if (req.content_length or 0) > limit:
        raise too_large(limit=limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in req.stream:
        size += len(chunk)
        if size > limit:
            raise too_large(limit=limit)
        chunks.append(chunk)
    return b"".join(chunks)


def decode(raw: bytes, kind: type[T]) -> T:
    """The document in a body.

    Raises:
        Problem: 400 where it is not JSON.
        Invalid: Where a field is wrong; which one is said as a JSON Pointer.
    """
    try:
        found: T = _decoder(kind).decode(raw)
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
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    return Invalid(pointer, wrong.replace("`", ""))


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]
