"""What a rule may look at: this machine, and its application's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

import structlog

from backroom.domain.rule import Host, Login, Rule
from backroom.tools import Tools
from workers.memory import this_host

log = structlog.get_logger()

# Enough for a rule to see what goes on, however long an attack is; the newest count.
MOST_LOGINS = 20_000


class Sighting:
    """One look of one rule.

    Args:
        tools: Of the job that looks; its application is the one that is looked at.
        rule: Which rule looks.
    """

    def __init__(self, tools: Tools, rule: Rule) -> None:
        self._tools = tools
        self._rule = rule
        self._now = tools.now()

    def now(self) -> datetime:
        """The time of this check."""
        return self._now

    def hosts(self) -> Sequence[Host]:
        """The machine that this worker runs on."""
        return [this_host()]

    def logins(self, *, within: timedelta) -> Sequence[Login]:
        """Tries to sign in to this application, oldest first."""
        found = self._tools.read.logins.between(self._now - within, self._now, limit=MOST_LOGINS)
        if len(found) == MOST_LOGINS:
            log.warning("rule.sees_newest_only", rule=self._rule.name, limit=MOST_LOGINS)
        return found

    def open(self) -> Mapping[str, datetime]:
        """What this rule's open alerts are about, and when each was last seen."""
        return self._open

    def carried(self, carrier: str, *, since: datetime) -> bool:
        """Whether a carrier has taken a letter of this application since a moment."""
        return self._tools.read.alerts.carried(carrier, since=since)

    def setting(self, name: str, default: float) -> float:
        """A threshold that an administrator may have set for this rule."""
        return self._settings.get(name, self._rule.settings.get(name, default))

    @cached_property
    def _open(self) -> Mapping[str, datetime]:
        return {alert.about: alert.seen_at for alert in self._tools.read.alerts.open(self._rule.name)}

    @cached_property
    def _settings(self) -> Mapping[str, float]:
        return self._tools.read.alerts.settings(self._rule.name)
