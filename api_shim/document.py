"""Takes documents that are kept as they are: JSON objects up to a limit that is said with their size."""

from __future__ import annotations

from typing import Any, TypeVar

import falcon.asgi

from api_shim.body import decode, read_raw
from api_shim.problem import Problem
from backroom.domain.document import MOST_BYTES, TooLarge, check_document

T = TypeVar("T")

# A document may come with white space and with its request's other members; what is kept is measured without them.
MOST_RAW_BYTES = 2 * MOST_BYTES


async def read_document(req: falcon.asgi.Request, kind: type[T], *, limit: int, optional: bool = False) -> T:
    """The request's body, whose size is known to be too much before it is read where it was announced.

    Args:
        req: The request.
        kind: What its body is.
        limit: What the door takes at all, in bytes.
        optional: Whether no body at all leaves every field at its default.

    Raises:
        Problem: 413 with both numbers, or 400 where it is not JSON.
        Invalid: A field is wrong.
    """
    most = min(limit, MOST_RAW_BYTES)
    if (req.content_length or 0) > most:
        raise too_large(size=req.content_length or 0, limit=MOST_BYTES)
    raw = await read_raw(req, limit=most)
    return decode(raw or b"{}" if optional else raw, kind)


def checked(document: dict[str, Any], *, field: str = "") -> dict[str, Any]:
    """The document, if it can be kept.

    Raises:
        Problem: 413 with both numbers.
        Invalid: Something in it cannot be kept.
    """
    try:
        check_document(document, field=field)
    except TooLarge as error:
        raise too_large(size=error.size, limit=error.limit) from error
    return document


def too_large(*, size: int, limit: int) -> Problem:
    """A document is larger than what is kept."""
    return Problem(
        413,
        "too-large",
        "The document is too large",
        detail=f"it has {size} bytes; at most {limit} are kept",
        more={"size_bytes": size, "limit_bytes": limit},
    )
