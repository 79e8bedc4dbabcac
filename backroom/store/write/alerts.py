"""Changes to alerts and to the thresholds of their rules.

Each change says whether it was this caller that made it, so that two checks at once fire an alert once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, func, literal, update
from sqlalchemy.dialects.postgresql import insert

from backroom.store.tables import alerts, rule_settings


class AlertChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def open(self, alert: Mapping[str, Any]) -> bool:
        """Open an alert, unless one with its identity is open."""
        command = (
            insert(alerts)
            .values({"app_id": self._app, **alert})
            .on_conflict_do_nothing(
                index_elements=[alerts.c.app_id, alerts.c.rule, alerts.c.about],
                index_where=alerts.c.state != "resolved",
            )
        )
        return self._connection.execute(command).rowcount == 1

    def watch(self, alert: str, *, at: datetime, says: str, evidence: Mapping[str, Any]) -> bool:
        """Begin the hold of a pending alert anew."""
        return self._change(
            alert, alerts.c.state == "pending", found_at=at, seen_at=at, says=says, evidence=dict(evidence)
        )

    def see(self, alert: str, *, at: datetime, says: str, evidence: Mapping[str, Any]) -> bool:
        """Note that it is still so."""
        return self._change(alert, alerts.c.state != "resolved", seen_at=at, says=says, evidence=dict(evidence))

    def fire(self, alert: str, *, at: datetime, says: str, evidence: Mapping[str, Any]) -> bool:
        """Let a pending alert fire."""
        pending = alerts.c.state == "pending"
        return self._change(alert, pending, state="firing", fired_at=at, seen_at=at, says=says, evidence=dict(evidence))

    def forget(self, alert: str) -> bool:
        """Forget a pending alert that never came to fire."""
        command = delete(alerts).where(alerts.c.app_id == self._app, alerts.c.id == alert, alerts.c.state == "pending")
        return self._connection.execute(command).rowcount == 1

    def resolve(self, alert: str, *, at: datetime, says: str, notice: str) -> bool:
        """Resolve a firing alert.

        Args:
            alert: Its id.
            at: When.
            says: Why it is fine again.
            notice: The id of the notification that says so, kept if somebody was told that it fired.
        """
        told = case((func.jsonb_array_length(alerts.c.told) > 0, literal(notice, alerts.c.id.type)))
        firing = alerts.c.state == "firing"
        return self._change(alert, firing, state="resolved", resolved_at=at, says=says, resolved_notice=told)

    def tell(self, alert: str, *, users: Sequence[str], notice: str) -> bool:
        """Note who is told that an alert fires, and by which notification. The first time counts."""
        untold = (alerts.c.state == "firing") & alerts.c.fired_notice.is_(None)
        return self._change(alert, untold, told=list(users), fired_notice=notice)

    def acknowledge(self, alert: str, *, by: str, at: datetime) -> bool:
        """Note who takes an alert on. The first one counts."""
        return self._change(alert, alerts.c.acknowledged_at.is_(None), acknowledged_by=by, acknowledged_at=at)

    def set_thresholds(self, rule: str, values: Mapping[str, float]) -> None:
        """Replace the thresholds that are set for a rule; those that are not named go back to their defaults."""
        self._connection.execute(
            delete(rule_settings).where(rule_settings.c.app_id == self._app, rule_settings.c.rule == rule)
        )
        if values:
            command = insert(rule_settings)
            command = command.on_conflict_do_update(
                index_elements=[rule_settings.c.app_id, rule_settings.c.rule, rule_settings.c.name],
                set_={"value": command.excluded.value},
            )
            rows = [
                {"app_id": self._app, "rule": rule, "name": name, "value": value}
                for name, value in sorted(values.items())
            ]
            self._connection.execute(command, rows)

    def _change(self, alert: str, only: ColumnElement[bool], **values: object) -> bool:
        command = update(alerts).where(alerts.c.app_id == self._app, alerts.c.id == alert, only).values(**values)
        return self._connection.execute(command).rowcount == 1
