"""What becomes of a delivery after a try: the one place that decides again, never, or not known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.notification import AfterCrash

State = Literal["waiting", "sending", "retrying", "sent", "delivered", "refused", "failed", "skipped", "unknown"]

FINAL: frozenset[State] = frozenset({"sent", "delivered", "refused", "failed", "skipped", "unknown"})

# Eight tries over about half an hour: longer than a carrier's usual hiccup, shorter than a reader's patience.
ATTEMPTS = 8
JITTER = 0.2
BACKOFF = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=15), jitter=JITTER)
# A carrier that refuses us has to be mended by a person, and what was accepted meanwhile should still go out then.
# The longer it lasts, the less often it is asked.
MENDED_WITHIN = timedelta(days=1)
SHORTEST_MENDING, LONGEST_MENDING = timedelta(minutes=1), timedelta(hours=1)
# A carrier that asks us to come back next week gets a row that says so, not a job that sleeps.
LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The next state of a delivery.

    Attributes:
        state: Where it goes.
        reason: Why, in a short word or sentence without addresses.
        code: The carrier's own code, where it gave one.
        after: How long to wait before the next try; only with `retrying`.
        counts: Whether the try counts towards the last one.
        suppress: Whether the address is dead for every later letter, too.
        alarm: Whether administrators must mend something.
    """

    state: State
    reason: str
    code: str = ""
    after: timedelta = timedelta(0)
    counts: bool = True
    suppress: bool = False
    alarm: bool = False


def judge(
    error: Rejected | Unreachable | Misconfigured,
    *,
    attempt: int,
    age: timedelta,
    after_crash: AfterCrash,
    repeatable: bool,
    chance: float,
) -> Verdict:
    """Judge a try that the carrier did not accept.

    Args:
        error: What the channel raised.
        attempt: Which try it was; 1 is the first.
        age: How long the delivery has been waiting to go out.
        after_crash: What the notification's type wants done with a letter that may have gone out.
        repeatable: Whether the reader sees the letter once however often it is handed over.
        chance: A random number in [0, 1), for the jitter.
    """
    if isinstance(error, Rejected):
        return Verdict(state="refused", reason=error.reason, code=error.code, suppress=error.suppress)
    if isinstance(error, Misconfigured):
        if age >= MENDED_WITHIN:
            return Verdict(state="failed", reason=error.reason, code=error.code, alarm=True)
        wait = min(max(age / 2, SHORTEST_MENDING), LONGEST_MENDING) * (1 - JITTER * chance)
        # It says nothing about the letter, which has all its tries before it once the carrier takes letters again.
        return Verdict(state="retrying", reason=error.reason, code=error.code, after=wait, counts=False, alarm=True)
    if error.maybe_sent and not may_repeat(after_crash=after_crash, repeatable=repeatable):
        return Verdict(state="unknown", reason=error.reason, code=error.code)
    if attempt >= ATTEMPTS:
        return Verdict(state="failed", reason=f"gave up after {attempt} tries: {error.reason}", code=error.code)
    wait = error.after if error.after is not None else BACKOFF.wait(attempt, chance=chance)
    return Verdict(state="retrying", reason=error.reason, code=error.code, after=min(wait, LONGEST_WAIT))


def may_repeat(*, after_crash: AfterCrash, repeatable: bool) -> bool:
    """Whether a letter that may have gone out may go out again."""
    return repeatable or after_crash == "resend"
