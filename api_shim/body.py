"""Reads a request's body: never more than the limit, and with the wrong field named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import falcon.asgi
import msgspec
import msgspec.inspect

from api_shim.problem import Problem, too_large
from backroom.domain.document import check_value
from backroom.domain.errors import Invalid
from backroom.domain.pointer import escaped
from backroom.words.near import unknown

T = TypeVar("T")

# A megabyte over a bad line takes less; who sends a byte now and then must not hold a connection for ever.
LONGEST_READ = timedelta(seconds=30)

# More than a document that is kept may have: such a document's own limit is the one to tell.
MOST_LEVELS = 100

_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "text",
}
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
        raise _fault(error, kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "not-json", "The body is not JSON", detail=str(error).replace("`", "")) from error
    return found


def _fault(error: msgspec.ValidationError, kind: Any) -> Invalid:
    """What msgspec says, in plain words, with its path as a JSON Pointer (RFC 6901) and with what would be right."""
    says = str(error)
    match = _PLACE.search(says)
    wrong = says[: match.start()] if match else says
    steps = [name or number for name, number in _STEP.findall(match["path"])] if match else []
    pointer = "".join(f"/{escaped(step)}" for step in steps)
    if found := re.fullmatch(r"Object missing required field `(.+)`", wrong):
        return Invalid(f"{pointer}/{escaped(found[1])}", "is missing")
    if found := re.fullmatch(r"Object contains unknown field `(.+)`", wrong, re.DOTALL):
        fields = [field.encode_name for field in getattr(_type_at(kind, steps), "fields", ())]
        at = f"{pointer}/{escaped(found[1])}"
        return unknown(at, "field", found[1], fields) if fields else Invalid(at, "there is no such field")
    if wrong.startswith("Invalid enum value"):
        values = ", ".join(map(str, getattr(_type_at(kind, steps), "values", ())))
        return Invalid(pointer, "is not one of the values it may have", values)
    if found := re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", wrong):
        return Invalid(pointer, f"is {_plain(found[2])}", _plain(found[1]))
    return Invalid(pointer, wrong.replace("`", ""))


def _type_at(kind: Any, steps: Sequence[str]) -> Any:
    """The type that stands at a place of a body, as msgspec describes it; None where there is no single one."""
    at = _bare(msgspec.inspect.type_info(kind))
    for step in steps:
        if isinstance(at, msgspec.inspect.StructType):
            at = _bare(next((field.type for field in at.fields if field.encode_name == step), None))
        else:
            at = _bare(getattr(at, "item_type", None) or getattr(at, "value_type", None))
    return at


def _bare(at: Any) -> Any:
    """A type without its limits, and without that it may be null."""
    if isinstance(at, msgspec.inspect.Metadata):
        return _bare(at.type)
    if isinstance(at, msgspec.inspect.UnionType):
        rest = [one for one in at.types if not isinstance(one, msgspec.inspect.NoneType)]
        return _bare(rest[0]) if len(rest) == 1 else None
    return at


def _plain(types: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types.split(" | "))


def _check_keepable(raw: bytes, found: object) -> None:
    # Most bodies can have neither, and are not walked. What stays raw is looked at by whoever decodes it.
    if rb"\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MOST_LEVELS:
        check_value(msgspec.to_builtins(found, enc_hook=lambda _raw: None), most=MOST_LEVELS)


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]
