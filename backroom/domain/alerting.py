"""What becomes of an alert when a rule has looked again, and what administrators are told about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from backroom.domain.job import AppMessage
from backroom.domain.rule import Clear, Finding, Severity

Step = Literal["leave", "watch", "fire", "see", "forget", "resolve"]

# A finding that has not been seen again for so long, and longer than its hold, does not stand any more: nobody looked
# in between, because the clock or the workers were away. Its hold begins anew.
LAPSE = timedelta(minutes=5)
# An attacker chooses how many sources there are; administrators must not get a letter for each of thousands.
MOST_OPEN = 50
CROWD = "many others"

# What the notification type takes; see templates/admin_notice/payload.schema.json.
_TITLE, _SAYS, _ABOUT, _NAME, _VALUE, _EVIDENCE = 120, 500, 200, 60, 300, 20


class ReportFinding(AppMessage, frozen=True, kw_only=True):
    """What another job found out about while it did its own work.

    It stands here and not on the shelf because its job tells administrators through the notification engine, whose
    jobs report findings themselves: a delivery may find that its carrier refuses us.

    Attributes:
        rule: `noun.adjective`; with `about` the alert's identity.
        about: What it is about.
        says: One sentence for an administrator.
        severity: How bad it is.
        evidence: Small plain values that support it.
        state: `firing`, or `clear` when it is fine again.
    """

    rule: str
    about: str
    says: str
    severity: Severity = "warning"
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)
    state: Literal["firing", "clear"] = "firing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """An alert that is open.

    Attributes:
        state: `pending` while its hold lasts, then `firing`.
        found_at: When the finding began to stand.
        seen_at: When it was last seen.
    """

    state: Literal["pending", "firing"]
    found_at: datetime
    seen_at: datetime


def next_step(standing: Standing | None, said: Finding | Clear | None, *, now: datetime, hold: timedelta) -> Step:
    """Decide what becomes of an alert.

    Args:
        standing: The open alert, or None where there is none.
        said: What the rule says about it now; None where it says nothing, and everything stays as it is.
        now: The time of the check.
        hold: How long a finding must stand before it fires.

    Returns:
        `watch`: a hold begins, for the first time or anew. `fire`: tell the administrators that it is wrong.
        `see`: note that it is still so. `forget`: it passed before it fired. `resolve`: tell them that it is fine
        again. `leave`: nothing.
    """
    if said is None:
        return "leave"
    if isinstance(said, Clear):
        return "leave" if standing is None else "resolve" if standing.state == "firing" else "forget"
    if standing is not None and standing.state == "firing":
        return "see"
    if hold <= timedelta(0):
        return "fire"
    if standing is None or now - standing.seen_at > max(hold, LAPSE):
        return "watch"
    return "fire" if now - standing.found_at >= hold else "see"


def crowd(said: Iterable[Finding | Clear], *, known: Iterable[str]) -> list[Finding | Clear]:
    """What is to be looked at one by one; of what is too much for that, one finding that counts the rest.

    Args:
        said: What a rule found, in its order: worst first.
        known: What its open alerts are about: these go on being seen.
    """
    known = set(known)
    kept: list[Finding | Clear] = []
    room = MOST_OPEN - len(known - {CROWD})
    left_out = 0
    for one in said:
        if isinstance(one, Clear) or one.about in known:
            kept.append(one)
        elif room > 0:
            kept.append(one)
            room -= 1
        else:
            left_out += 1
    if left_out:
        says = f"{left_out} more were found beside the {MOST_OPEN} that have alerts of their own"
        kept.append(Finding(about=CROWD, says=says, evidence={"found": left_out}))
    elif CROWD in known:
        kept.append(Clear(about=CROWD, says="what is found has alerts of its own again"))
    return kept


def title(rule: str) -> str:
    """A rule's name as a title: `memory.low` reads `Memory low`."""
    return rule.replace(".", " ").replace("_", " ").capitalize()[:_TITLE]


def notice(
    *,
    rule: str,
    about: str,
    says: str,
    severity: str,
    state: Literal["firing", "resolved"],
    evidence: Mapping[str, Any],
    since: datetime,
) -> dict[str, Any]:
    """The payload of the letter to the administrators, within what its notification type takes."""
    return {
        "title": title(rule),
        "says": says[:_SAYS],
        "severity": severity,
        "state": state,
        "about": about[:_ABOUT],
        "evidence": [
            {"name": name.replace("_", " ").capitalize()[:_NAME], "value": _plain(value)[:_VALUE]}
            for name, value in list(evidence.items())[:_EVIDENCE]
            if name
        ],
        "since": since.isoformat(),
    }


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
