"""What the memory answers with: frozen values, one for each thing it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backroom.domain.delivery import State


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A person in one application. `contacts` maps a kind of contact point, such as `email`, to the address."""

    id: str
    name: str
    locale: str
    time_zone: str
    contacts: dict[str, str]
    attributes: dict[str, Any]
    administrator: bool
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """What an application asked to be told, and to whom."""

    id: str
    type: str
    data: dict[str, Any]
    to_users: list[str]
    accepted_at: datetime
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One notification for one user over one medium: the unit of retry, of status and of audit.

    `state` is `waiting`, `sending`, `retrying`, or final: `sent` (the carrier took it), `delivered` (it is with the
    reader), `refused` (the carrier will never take it), `failed` (given up), `skipped` (never tried), `unknown` (it may
    have gone out).
    """

    id: str
    notification_id: str
    user_id: str
    medium: str
    carrier: str
    state: State
    attempts: int
    provider_id: str
    reason: str
    code: str
    locale: str
    claimed_at: datetime | None
    due_at: datetime | None
    finished_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """Everything that one try of a delivery needs to know.

    Attributes:
        delivery: The row.
        notification: What it is about.
        reader: Who it is for, or None where the application no longer knows that user.
        suppressed: Those of the reader's addresses that this medium must never write to again.
        app_name: Who sends.
    """

    delivery: Delivery
    notification: Notification
    reader: User | None
    suppressed: frozenset[str]
    app_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxItem:
    """One item of a user's inbox on the website."""

    id: str
    notification_id: str
    type: str
    title: str
    body: str
    link: str
    created_at: datetime
    read_at: datetime | None
