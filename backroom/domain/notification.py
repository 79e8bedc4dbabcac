"""What a notification type is, and which letters one notification becomes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Category = Literal["transactional", "security", "alert", "marketing", "digest"]
Strategy = Literal["all", "first"]
AfterCrash = Literal["report", "resend"]
Reason = Literal["no_contact", "no_carrier", "earlier_medium"]

CATEGORIES: tuple[str, ...] = get_args(Category)
STRATEGIES: tuple[str, ...] = get_args(Strategy)
AFTER_CRASH: tuple[str, ...] = get_args(AfterCrash)


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationType:
    """One folder of the templates shelf.

    Attributes:
        name: The folder's name, such as `order_shipped`.
        about: Its one-line meaning.
        category: What kind of word it is; preferences and quiet hours go by it.
        mediums: Where it may appear, in order.
        strategy: `all` writes over every medium the reader can be reached by, `first` over the first of them only.
        after_crash: What happens to a letter that may have gone out when a worker died: `report` it as unknown, or
            `resend` it, because twice is better than never.
        public: Whether applications may post it; otherwise only our own jobs do.
        schema: JSON Schema of its payload.
        example: A payload that fits the schema: for previews, docs and tests.
    """

    name: str
    about: str
    category: Category
    mediums: tuple[str, ...]
    strategy: Strategy
    after_crash: AfterCrash
    public: bool
    schema: Mapping[str, Any]
    example: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A letter to write."""

    medium: str
    to: str

    def __repr__(self) -> str:
        """Not the address: a plan's repr may end up in a log."""
        return f"Planned(medium={self.medium!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A medium that gets no letter.

    Attributes:
        medium: Which one.
        reason: `no_carrier`: nothing on the channels shelf that is on carries it; `no_contact`: the reader has no such
            contact point; `earlier_medium`: the type wants the first medium only, and an earlier one was there.
    """

    medium: str
    reason: Reason


def letters_for(
    notification: NotificationType,
    *,
    user: str,
    contacts: Mapping[str, str],
    carriers: Mapping[str, str],
    only: Collection[str] = (),
) -> list[Planned | Skipped]:
    """Decide which letters one reader gets, in the order of the type's mediums.

    Args:
        notification: The type.
        user: The reader's id, and the address for a medium that writes to the user itself.
        contacts: The reader's contact points, such as `{"email": ..., "phone": ...}`.
        carriers: The mediums that a carrier is on for, each with the contact point it writes to (`Channel.contact`).
        only: The mediums that were asked for; empty for all that the type names.
    """
    plan: list[Planned | Skipped] = []
    found = False
    for medium in notification.mediums:
        if only and medium not in only:
            continue
        decision = _decide(medium, user=user, contacts=contacts, carriers=carriers)
        if isinstance(decision, Planned) and found and notification.strategy == "first":
            decision = Skipped(medium=medium, reason="earlier_medium")
        found = found or isinstance(decision, Planned)
        plan.append(decision)
    return plan


def _decide(medium: str, *, user: str, contacts: Mapping[str, str], carriers: Mapping[str, str]) -> Planned | Skipped:
    if medium not in carriers:
        return Skipped(medium=medium, reason="no_carrier")
    contact = carriers[medium]
    to = contacts.get(contact, "") if contact else user
    return Planned(medium=medium, to=to) if to else Skipped(medium=medium, reason="no_contact")
