"""What happened on a website: as a client of the Segment family tells it, and as we keep it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from backroom.domain.errors import Invalid

KINDS = ("track", "page", "screen", "identify", "group", "alias")

MOST_ID_CHARS = 200
MOST_MESSAGE_ID_CHARS = 100
MOST_NAME_CHARS = 200
# Alerts are raised on these, so only the application itself is believed: a page's write key is everybody's.
LOGIN_FAILED, LOGIN_SUCCEEDED = "login.failed", "login.succeeded"
SIGN_INS = frozenset({LOGIN_FAILED, LOGIN_SUCCEEDED})
# A client's clock may run ahead of ours by this much before its events are moved, and may tell of this long ago.
AHEAD = timedelta(minutes=5)
BEHIND = timedelta(days=5 * 365)

# What programs send when they have no id. Merging on one of these would make one person of all visitors.
_NOBODY = frozenset(
    {
        "anonymous",
        "guest",
        "distinctid",
        "distinct_id",
        "id",
        "not_authenticated",
        "email",
        "undefined",
        "true",
        "false",
    }
)
_NOTHING = frozenset({"[object Object]", "NaN", "None", "none", "null", "0"})
_ORIGIN = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")


class Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event as a client said it; what is not named here is ignored.

    Attributes:
        type: Where the path does not say so: `track`, `page`, `screen`, `identify`, `group` or `alias`.
        message_id: The client's own id for it: the same id is the same event.
        user_id: Who did it, where that is known.
        anonymous_id: Which visitor did it.
        previous_id: With `alias`, the id that the user had before.
        event: What was tracked, such as `Product Viewed`.
        name: Which page or screen was seen.
        properties: What there is to tell about it.
        traits: With `identify` and `group`, what there is to tell about somebody.
        context: Where the client was.
        timestamp: When it happened, by the client's clock.
        original_timestamp: The same before the client's library corrected it.
        sent_at: When it was sent, by the client's clock.
    """

    type: str = ""
    message_id: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event as we keep it.

    Attributes:
        id: The client's message id, or one that we gave it.
        kind: One of `KINDS`.
        name: What was tracked, or which page was seen.
        user: Who did it, where that is known.
        anonymous: Which visitor did it; for `alias`, the id that the user had before.
        properties: What the client tells about it; of somebody, for `identify` and `group`.
        context: Where the client was.
        at: When it happened, by our clock.
        received_at: When it came in.
        original_at: When it happened, by the client's clock.
        sent_at: When it was sent, by the client's clock.
        clamped: Whether `at` is a limit rather than what the client's times come to.
    """

    id: str
    kind: str
    name: str = ""
    user: str = ""
    anonymous: str = ""
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    at: datetime
    received_at: datetime
    original_at: datetime | None = None
    sent_at: datetime | None = None
    clamped: bool = False


def read_event(
    said: Said,
    *,
    kind: str,
    received_at: datetime,
    new_id: str,
    context: Mapping[str, Any] | None = None,
    sent_at: datetime | None = None,
) -> Event:
    """What a client said, checked and cleaned.

    Args:
        said: The event.
        kind: Its kind, from the path or from the event itself.
        received_at: When it came in.
        new_id: Its id if the client gave none.
        context: The batch's, which lies under the event's own.
        sent_at: The batch's.

    Raises:
        Invalid: A field is wrong; the pointer starts at the event.
    """
    if kind not in KINDS:
        raise Invalid("/type", "is not a kind of event", ", ".join(KINDS))
    user, anonymous = _id(said.user_id, "/userId"), _id(said.anonymous_id, "/anonymousId")
    if kind == "alias":
        anonymous = _id(said.previous_id, "/previousId")
        if not (user and anonymous):
            raise Invalid("/previousId", "an alias joins two ids", "previousId and userId")
    if not (user or anonymous):
        raise Invalid("/userId", "nobody did it", "userId or anonymousId")
    # Some libraries send an empty id; that is none.
    if said.message_id and len(said.message_id) > MOST_MESSAGE_ID_CHARS:
        raise Invalid("/messageId", "is too long", f"at most {MOST_MESSAGE_ID_CHARS} characters")

    properties = (said.traits if kind in {"identify", "group"} else said.properties) or {}
    sent = _utc(said.sent_at or sent_at)
    original = _utc(said.original_timestamp or said.timestamp)
    at, clamped = when(received_at=received_at, sent_at=sent, original_at=original)
    return Event(
        id=said.message_id or new_id,
        kind=kind,
        name=_name(said, kind),
        user=user,
        anonymous=anonymous,
        properties=without_query(properties) if kind == "page" else properties,
        context=_context({**(context or {}), **(said.context or {})}),
        at=at,
        received_at=received_at,
        original_at=original,
        sent_at=sent,
        clamped=clamped,
    )


def when(*, received_at: datetime, sent_at: datetime | None, original_at: datetime | None) -> tuple[datetime, bool]:
    """When an event happened by our clock, and whether that had to be moved into what is possible.

    A client's clock may be wrong, but it is wrong by the same amount when the event happens and when it is sent.
    """
    if original_at is None:
        return received_at, False
    try:
        at = original_at if sent_at is None else received_at - (sent_at - original_at)
    except OverflowError:
        return received_at, True
    possible = min(max(at, received_at - BEHIND), received_at + AHEAD)
    return possible, possible != at


def may_merge(anonymous: str, *, user: str) -> bool:
    """Whether an id is one visitor's, so that it may be joined to a user."""
    return (
        bool(anonymous.strip())
        and anonymous != user
        and not {anonymous, user} & _NOTHING
        and not {anonymous.strip().lower(), user.strip().lower()} & _NOBODY
    )


def without_query(page: Mapping[str, Any]) -> dict[str, Any]:
    """What is told about a page, with its path, and without query strings: they hold names, tokens and searches."""
    told = {name: value for name, value in page.items() if name != "search"}
    for name in ("url", "referrer", "path"):
        if isinstance(address := told.get(name), str):
            told[name] = address.partition("#")[0].partition("?")[0]
    if not isinstance(told.get("path"), str) and isinstance(url := told.get("url"), str) and url:
        told["path"] = _ORIGIN.sub("", url, count=1) or "/"
    return told


def _id(value: str | int | None, field: str) -> str:
    text = "" if value is None else str(value)
    if len(text) > MOST_ID_CHARS:
        raise Invalid(field, "is too long", f"at most {MOST_ID_CHARS} characters")
    return text.strip()


def _name(said: Said, kind: str) -> str:
    name = (said.event if kind == "track" else said.name if kind in {"page", "screen"} else "") or ""
    if kind == "track" and not name.strip():
        raise Invalid("/event", "is missing", "what happened, such as Product Viewed")
    if len(name) > MOST_NAME_CHARS:
        raise Invalid("/event" if kind == "track" else "/name", "is too long", f"at most {MOST_NAME_CHARS} characters")
    return name.strip()


def _context(context: dict[str, Any]) -> dict[str, Any]:
    if "ip" in context:
        context["ip"] = _near(context["ip"])
    if isinstance(page := context.get("page"), dict):
        context["page"] = without_query(page)
    return context


def _near(address: object) -> str:
    """Which network an address is in, rather than whose it is."""
    try:
        found = ipaddress.ip_address(str(address))
    except ValueError:
        return ""
    prefix = 24 if found.version == 4 else 48  # noqa: PLR2004 - IPv4
    return str(ipaddress.ip_network(f"{found}/{prefix}", strict=False).network_address)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
