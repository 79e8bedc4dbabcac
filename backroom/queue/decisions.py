"""What a worker may decide about a message it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The work is over.

    Attributes:
        state: Whether it is complete, or was stopped on purpose.
        result: What it returned, as JSON; `None` for nothing.
        kept: How long that can be asked for; zero for not at all.
    """

    state: Literal["done", "cancelled"] = "done"
    result: bytes | None = None
    kept: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """Run it again.

    Attributes:
        after: How long to wait.
        counted: Whether this was a failed attempt.
    """

    after: timedelta
    counted: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Dead:
    """To the dead letters."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """Back to the front of its queue, as if it had never been taken.

    Attributes:
        engine_away: Whether one of our engines does not answer, so that taking the next message would not help.
    """

    engine_away: bool = False


Decision = Done | Again | Dead | Release
