"""What an alert rule is: facts in, findings out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

DECLARATION = "__rule__"
# A threshold that every rule has: how long a finding must stand before it fires.
HOLD = "hold_seconds"

Scope = Literal["host", "app"]
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something is wrong right now.

    Attributes:
        about: What it is about; with the rule's name it is the alert's identity.
        says: One sentence for an administrator.
        evidence: Small plain values that support it.
    """

    about: str
    says: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clear:
    """This is fine again. Between a finding and a clear, an alert stays as it is: that is the hysteresis."""

    about: str
    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A machine's memory. All sizes in bytes, within the limit that applies (the host's or a control group's).

    Attributes:
        name: Its host name.
        memory_limit: What may be used in all.
        memory_available: What can still be used without pushing anything out.
        limited_by: `host` or `cgroup`.
    """

    name: str
    memory_limit: int
    memory_available: int
    limited_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """One try to sign in.

    Attributes:
        at: When.
        source: Where it came from, as the application said it (an IP address).
        account: Whose account was tried.
        succeeded: Whether it worked.
    """

    at: datetime
    source: str
    account: str
    succeeded: bool


class Sight(Protocol):
    """What a rule may look at."""

    def now(self) -> datetime:
        """The time of this check."""
        ...

    def hosts(self) -> Sequence[Host]:
        """The machines we know of."""
        ...

    def logins(self, *, within: timedelta) -> Sequence[Login]:
        """Tries to sign in to this application, oldest first."""
        ...

    def open(self) -> Mapping[str, datetime]:
        """What this rule's open alerts are about, and when each was last seen."""
        ...

    def carried(self, carrier: str, *, since: datetime) -> bool:
        """Whether a carrier has taken a letter of this application since a moment."""
        ...

    def setting(self, name: str, default: float) -> float:
        """A threshold that an administrator may have set for this rule."""
        ...


Check = Callable[[Sight], Iterable[Finding | Clear]]
Function = TypeVar("Function", bound=Callable[[Sight], Iterator[Finding | Clear]])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One entry of the alerts shelf.

    Attributes:
        name: `noun.adjective`; with `about` the identity of its alerts.
        check: Looks, and yields findings and clears.
        scope: Whether it looks at this machine or at one application's rows.
        severity: How bad a finding is.
        hold: How long a finding must stand before it fires, unless an administrator has set `hold_seconds`.
        every: When the clock asks for it: a crontab line (UTC) or an interval.
        settings: The thresholds an administrator may set, with their defaults; none may be negative.
        about: Its one-line meaning.
    """

    name: str
    check: Check
    scope: Scope
    severity: Severity
    hold: timedelta
    every: str | timedelta
    settings: Mapping[str, float]
    about: str


def rule(
    name: str,
    *,
    every: str | timedelta,
    severity: Severity,
    scope: Scope = "app",
    hold: timedelta = timedelta(0),
    settings: Mapping[str, float] | None = None,
) -> Callable[[Function], Function]:
    """Declare an alert rule; see `Rule` for the arguments."""

    def declare(function: Function) -> Function:
        declaration = Rule(
            name=name,
            check=function,
            scope=scope,
            severity=severity,
            hold=hold,
            every=every,
            settings={**(settings or {}), HOLD: hold.total_seconds()},
            about=(inspect.getdoc(function) or "").partition("\n")[0],
        )
        setattr(function, DECLARATION, declaration)
        return function

    return declare
