"""What a JSON object must be to be kept: small, not too deep, and free of what PostgreSQL cannot hold."""

from __future__ import annotations

from typing import Any

import msgspec

from backroom.domain.errors import Invalid, Permanent
from backroom.domain.pointer import escaped

MOST_BYTES = 64 * 1024
MOST_LEVELS = 64


class TooLarge(Permanent):
    """A document is larger than what is kept.

    Args:
        size: How many bytes it has as compact JSON.
        limit: How many it may have.
    """

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"the document has {size} bytes; at most {limit} are kept")
        self.size = size
        self.limit = limit


def check_document(document: dict[str, Any], *, field: str = "") -> None:
    """Let a document through that can be kept.

    Args:
        document: As it was decoded.
        field: JSON Pointer to where it stands in the request.

    Raises:
        TooLarge: It is larger than 64 KiB as compact JSON.
        Invalid: It is nested too deep, or a text in it has a NUL character.
    """
    check_value(document, field=field, most=MOST_LEVELS)
    size = len(msgspec.json.encode(document))
    if size > MOST_BYTES:
        raise TooLarge(size=size, limit=MOST_BYTES)


def check_value(value: object, *, field: str = "", most: int) -> None:
    """Let through what PostgreSQL can keep and a program can walk.

    Args:
        value: As it was decoded.
        field: JSON Pointer to where it stands in the request.
        most: How many levels it may have.

    Raises:
        Invalid: It is nested too deep, or a text in it has a NUL character.
    """
    _check(value, field, most, most)


def _check(value: object, field: str, levels: int, most: int) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise Invalid(field, "has a NUL character", "text without U+0000")
    elif isinstance(value, dict | list):
        if not levels:
            raise Invalid(field, "is nested too deep", f"at most {most} levels")
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check(name, field, levels - 1, most)
            _check(inner, f"{field}/{escaped(name)}", levels - 1, most)
