"""What a visitor's session is, when it is over, and which of many saves of it counts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

Preset = Literal["strict", "default", "remember"]

# How long a session may be left alone, and how long it may last at all.
PRESETS: dict[Preset, tuple[timedelta, timedelta]] = {
    "strict": (timedelta(minutes=15), timedelta(hours=8)),
    "default": (timedelta(minutes=30), timedelta(hours=12)),
    "remember": (timedelta(days=30), timedelta(days=90)),
}
SHORTEST, LONGEST_IDLE, LONGEST_LIFETIME = timedelta(minutes=1), timedelta(days=30), timedelta(days=90)

# A visitor that comes back is noted at most this often.
TOUCHED_EVERY = timedelta(minutes=1)
# How long the hot copy of a session that nobody asks for is kept; the memory has it, too.
HOT_FOR = timedelta(days=2)
# How long an ended session is refused from the hot copy alone: longer than its end may wait to be written.
TOMBSTONE_FOR = timedelta(days=7)
# How long an ended session's row is kept. A save that is nearly as old finds the row gone and would begin the session
# anew, so such a save is dropped.
ENDED_KEPT = timedelta(days=30)
LATEST_SAVE = ENDED_KEPT - timedelta(days=1)
# The clock's visit to sessions that are over has time: reading refuses them at once. A save of a visit may still be
# on its way, and must come before.
SWEPT_AFTER = timedelta(days=1)

TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A visitor's session.

    Attributes:
        user: Whose it is; empty for a visitor without a name.
        state: What the application keeps in it.
        version: One more with every change of the state.
        idle_seconds: How long it may be left alone.
        created_at: When it began.
        seen_at: When it was last used, give or take a minute.
        expires_at: When it ends at the latest.
    """

    user: str
    state: dict[str, Any]
    version: int
    idle_seconds: int
    created_at: datetime
    seen_at: datetime
    expires_at: datetime

    @property
    def lapses_at(self) -> datetime:
        """When it is over if nobody uses it."""
        return min(self.expires_at, self.seen_at + timedelta(seconds=self.idle_seconds))

    def is_over(self, now: datetime) -> bool:
        """Whether it has been left alone, or has lasted, for too long."""
        return now >= self.lapses_at

    def is_due_for_touch(self, now: datetime) -> bool:
        """Whether its last use is to be noted again."""
        return now >= self.seen_at + min(TOUCHED_EVERY, timedelta(seconds=self.idle_seconds) / 4)

    def touched(self, now: datetime) -> Session:
        """The same, used now."""
        return replace(self, seen_at=max(now, self.seen_at))

    def with_state(self, state: dict[str, Any], *, now: datetime) -> Session:
        """The same with another state."""
        return replace(self.touched(now), state=state, version=self.version + 1)

    def hot_for(self, now: datetime) -> timedelta:
        """How long its hot copy is worth keeping."""
        return max(timedelta(seconds=1), min(HOT_FOR, self.lapses_at - now))


@dataclass(frozen=True, kw_only=True, slots=True)
class Save:
    """A session as it is to be remembered.

    Attributes:
        token_hash: Which one.
        revision: Of its hot copy: the newest counts.
        session: The session.
        at: When it was accepted.
        ended: Whether it is over for good.
    """

    token_hash: str
    revision: int
    session: Session
    at: datetime
    ended: bool


def begin(*, user: str, state: dict[str, Any], idle: timedelta, lifetime: timedelta, now: datetime) -> Session:
    """A session that begins now."""
    return Session(
        user=user,
        state=state,
        version=1,
        idle_seconds=round(idle.total_seconds()),
        created_at=now,
        seen_at=now,
        expires_at=now + lifetime,
    )


def newest(saves: Iterable[Save], *, now: datetime) -> list[Save]:
    """The one save of each session that counts, in the order of their hashes: its end, or else its newest.

    Saves that come so late that their session's row may be gone are left out.
    """
    best: dict[str, Save] = {}
    for save in saves:
        known = best.get(save.token_hash)
        if now - save.at < LATEST_SAVE and (known is None or _weight(save) > _weight(known)):
            best[save.token_hash] = save
    return [best[token_hash] for token_hash in sorted(best)]


def mint_token(random_bytes: Callable[[int], bytes]) -> str:
    """A new token: 256 random bits as 43 characters."""
    return base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).rstrip(b"=").decode()


def token_hash(token: str) -> str | None:
    """What is kept of a token, from which it cannot be made again; None for what is no token.

    A token has 256 random bits, so it cannot be found by trying, and a fast hash is enough.
    """
    return hashlib.sha256(token.encode()).hexdigest() if _TOKEN.fullmatch(token) else None


def _weight(save: Save) -> tuple[bool, int]:
    return save.ended, save.revision
