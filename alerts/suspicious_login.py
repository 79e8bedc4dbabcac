"""Warn administrators when somebody tries many passwords, on one account or on many."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backroom.domain.bucket import Bucket, Level, is_calm, pour
from backroom.domain.rule import Clear, Finding, Login, Sight, rule

# The two buckets are CrowdSec's for SSH: the sixth failure in a row, and the eleventh of a patient attacker.
CAPACITY, LEAK = 5, 10
SLOW_CAPACITY, SLOW_LEAK = 10, 60
# An account that is tried from everywhere: each source stays below its own bucket.
ACCOUNT_FAILURES, ACCOUNT_SOURCES, ACCOUNT_WITHIN = 10, 5, 15 * 60
# Somebody got in after that many failures: a forgetful user, or the attacker.
FAILURES_BEFORE_SUCCESS = 5
COOL_DOWN = 5 * 60
# Looks come within seconds of an event. Were all calm again by then, an attack would have been and gone unseen.
SHORTEST_COOL_DOWN = timedelta(seconds=10)
# The longest that a look may reach back, whatever the settings say.
FURTHEST = timedelta(hours=6)

Setting = Callable[[str, float], float]


@rule(
    "login.suspicious",
    scope="app",
    every="* * * * *",
    severity="warning",
    settings={
        "capacity": CAPACITY,
        "leak_seconds": LEAK,
        "slow_capacity": SLOW_CAPACITY,
        "slow_leak_seconds": SLOW_LEAK,
        "account_failures": ACCOUNT_FAILURES,
        "account_sources": ACCOUNT_SOURCES,
        "account_within_seconds": ACCOUNT_WITHIN,
        "failures_before_success": FAILURES_BEFORE_SUCCESS,
        "cool_down_seconds": COOL_DOWN,
    },
)
def suspicious_login(sight: Sight) -> Iterator[Finding | Clear]:
    """Many failures to sign in, from one source or on one account, or a success right after them."""
    limits = Limits.of(sight.setting)
    now = sight.now()
    tries = sight.logins(within=min(limits.reach, FURTHEST))
    # Worst first: where there is too much to say, what comes last is only counted.
    suspects = [
        *_each(tries, _account, lambda name, own: _break_in(name, own, limits, now)),
        *_each(tries, _account, lambda name, own: _spread(name, own, limits, now)),
        *_each(tries, _source, lambda name, own: _flood(name, own, limits, now)),
    ]
    hot = {suspect.about for suspect in suspects}
    for suspect in suspects:
        if suspect.finding is not None:
            yield suspect.finding
    for about in sight.open():
        if about not in hot:
            yield Clear(about=about, says=f"Nothing more from {about} for {_minutes(limits.cool_down)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The thresholds in force; see the rule's settings."""

    quick: Bucket
    slow: Bucket
    account_failures: float
    account_sources: float
    account_within: timedelta
    failures_before_success: float
    cool_down: timedelta

    @classmethod
    def of(cls, setting: Setting) -> Limits:
        """What administrators have set, or the defaults."""

        def seconds(name: str, default: float) -> timedelta:
            return timedelta(seconds=min(setting(name, default), FURTHEST.total_seconds()))

        return cls(
            quick=Bucket(capacity=setting("capacity", CAPACITY), leak=seconds("leak_seconds", LEAK)),
            slow=Bucket(capacity=setting("slow_capacity", SLOW_CAPACITY), leak=seconds("slow_leak_seconds", SLOW_LEAK)),
            account_failures=setting("account_failures", ACCOUNT_FAILURES),
            account_sources=setting("account_sources", ACCOUNT_SOURCES),
            account_within=seconds("account_within_seconds", ACCOUNT_WITHIN),
            failures_before_success=setting("failures_before_success", FAILURES_BEFORE_SUCCESS),
            cool_down=max(seconds("cool_down_seconds", COOL_DOWN), SHORTEST_COOL_DOWN),
        )

    @property
    def reach(self) -> timedelta:
        """How far back anything matters: until the slowest of them has forgotten, and a cool-down more."""
        drained = [bucket.leak * min(bucket.capacity, 1_000) for bucket in (self.quick, self.slow)]
        return max(self.account_within, *drained) + self.cool_down


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """Something that is not calm.

    Attributes:
        about: What an alert about it is about.
        finding: What is wrong with it; None where it is only not calm again yet.
    """

    about: str
    finding: Finding | None = field(default=None)


def _source(login: Login) -> str:
    return login.source


def _account(login: Login) -> str:
    return login.account


def _each(
    tries: Iterable[Login], key: Callable[[Login], str], look: Callable[[str, Sequence[Login]], Suspect | None]
) -> Iterator[Suspect]:
    groups: dict[str, list[Login]] = {}
    for login in tries:
        if key(login):
            groups.setdefault(key(login), []).append(login)
    for name, own in groups.items():
        suspect = look(name, own)
        if suspect is not None:
            yield suspect


def _flood(source: str, tries: Sequence[Login], limits: Limits, now: datetime) -> Suspect | None:
    """Too many failures from one source, in a burst or patiently."""
    about = f"source {source}"
    failures = [login for login in tries if not login.succeeded]
    overflowed: list[str] = []
    for speed, bucket in (("quick", limits.quick), ("slow", limits.slow)):
        level: Level | None = None
        for login in failures:
            level = pour(level, bucket, at=login.at, quiet=limits.cool_down)
        if level and level.overflowed_at and not is_calm(level, bucket, now=now, quiet=limits.cool_down):
            overflowed.append(speed)
    if not overflowed:
        # A few failures are nobody's business, but an alert that is open stays so until they have stopped.
        waits = failures and now - failures[-1].at < limits.cool_down
        return Suspect(about=about) if waits else None
    accounts = {login.account for login in failures if login.account}
    says = f"{len(failures)} sign-ins failed from {source}, on {_count(len(accounts), 'account')}"
    evidence = {
        **_failures(failures),
        "accounts": len(accounts),
        "buckets": overflowed,
        "signed_in": sum(login.succeeded for login in tries),
    }
    return Suspect(about=about, finding=Finding(about=about, says=says, evidence=evidence))


def _spread(account: str, tries: Sequence[Login], limits: Limits, now: datetime) -> Suspect | None:
    """Too many failures on one account, each source with a few of them."""
    about = f"account {account}"
    failures = [login for login in tries if not login.succeeded]
    window: deque[Login] = deque()
    # Counted along: an account that is attacked has thousands in its window.
    sources: Counter[str] = Counter()
    spread = False
    for login in failures:
        if window and login.at - window[-1].at >= limits.cool_down:
            # It was calm in between: what came before has been told and resolved.
            window.clear()
            sources.clear()
            spread = False
        window.append(login)
        sources[login.source] += 1
        while login.at - window[0].at > limits.account_within:
            gone = window.popleft().source
            sources[gone] -= 1
            if not sources[gone]:
                del sources[gone]
        named = len(sources) - ("" in sources)
        spread |= len(window) >= limits.account_failures and named >= limits.account_sources
    if not failures or now - failures[-1].at >= limits.cool_down:
        return None
    if not spread:
        return Suspect(about=about)
    known = {each.source for each in failures if each.source}
    says = f"{len(failures)} sign-ins to account {account} failed, from {len(known)} sources"
    evidence = {**_failures(failures), "sources": sorted(known)[:10], "source_count": len(known)}
    return Suspect(about=about, finding=Finding(about=about, says=says, evidence=evidence))


def _break_in(account: str, tries: Sequence[Login], limits: Limits, now: datetime) -> Suspect | None:
    """Somebody got in after many failures."""
    about = f"sign-in to account {account}"
    failures: deque[Login] = deque()
    found: Suspect | None = None
    for login in tries:
        while failures and login.at - failures[0].at > limits.account_within:
            failures.popleft()
        if not login.succeeded:
            failures.append(login)
            continue
        if len(failures) >= max(1, limits.failures_before_success) and now - login.at < limits.cool_down:
            says = f"Somebody signed in to account {account} after {len(failures)} failures"
            evidence = {**_failures(list(failures)), "signed_in_from": login.source, "signed_in_at": _time(login.at)}
            found = Suspect(about=about, finding=Finding(about=about, says=says, evidence=evidence))
        failures.clear()
    return found


def _failures(failures: Sequence[Login]) -> Mapping[str, object]:
    return {"failures": len(failures), "first": _time(failures[0].at), "last": _time(failures[-1].at)}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _minutes(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds // 60} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds} s"  # noqa: PLR2004 - a minute
