"""Reads what a request says beside its body: how long its caller waits, ids, and which page of a list."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

import falcon.asgi
import msgspec
import uuid_utils

from backroom.domain.errors import Invalid

# A caller may wait this long for the outcome of what it asked, and no longer.
LONGEST_WAIT = timedelta(seconds=10)
# Not `isdigit`, which takes what `int` does not, and of any length.
_NUMBER = re.compile(r"[0-9]{1,9}")


def wanted_wait(req: falcon.asgi.Request) -> timedelta:
    """How long the caller would wait for the outcome (RFC 7240 `Prefer: wait=N`), zero if it did not say."""
    for part in (req.get_header("Prefer") or "").split(","):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "wait" and _NUMBER.fullmatch(value.strip()):
            return min(timedelta(seconds=int(value)), LONGEST_WAIT)
    return timedelta(0)


def checked_id(value: str, *, field: str, longest: int = 200) -> str:
    """An id that an application made up: printable and not too long.

    Raises:
        Invalid: It is not.
    """
    if not value or len(value) > longest or not value.isprintable():
        raise Invalid(field, "is not an id", f"1 to {longest} printable characters")
    return value


def is_uuid(value: str) -> bool:
    """Whether a text is an id that we made."""
    try:
        return str(uuid_utils.UUID(value)) == value.lower()
    except ValueError:
        return False


def fingerprint(value: object) -> str:
    """What a request said, in a few characters: the same for the same document."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:32]


def page_limit(req: falcon.asgi.Request, *, default: int = 25, most: int = 100) -> int:
    """How many entries of a list the caller wants (`limit`).

    Raises:
        Invalid: It is not a number between 1 and the most.
    """
    text = req.get_param("limit")
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise Invalid("/limit", "is not a page's length", f"1 to {most}")
    return int(text)


def page_after(req: falcon.asgi.Request) -> str | None:
    """Where a list of ids goes on (`after`, the last id of the page before).

    Raises:
        Invalid: It is not one of our ids.
    """
    text = req.get_param("after")
    if text is not None and not is_uuid(text):
        raise Invalid("/after", "is not a cursor", "the `next` of the page before")
    return text
