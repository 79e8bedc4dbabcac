"""Questions about alerts and the thresholds of their rules."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, or_, select

from backroom.store.rows_alerts import Alert
from backroom.store.tables import alerts, apps, deliveries, notifications, rule_settings

_ALERT = [alerts.c[name] for name in Alert.__dataclass_fields__]


class AlertQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def one(self, alert: str) -> Alert | None:
        """An alert by id."""
        query = select(*_ALERT).where(alerts.c.app_id == self._app, alerts.c.id == alert)
        row = self._connection.execute(query).mappings().one_or_none()
        return Alert(**row) if row else None

    def page(self, *, state: str | None, before: str | None, limit: int) -> list[Alert]:
        """Newest first, from just below an id; those in one state only, where one is given."""
        query = select(*_ALERT).where(alerts.c.app_id == self._app)
        if state is not None:
            query = query.where(alerts.c.state == state)
        if before is not None:
            query = query.where(alerts.c.id < before)
        query = query.order_by(alerts.c.id.desc()).limit(limit)
        return [Alert(**row) for row in self._connection.execute(query).mappings()]

    def open(self, rule: str) -> list[Alert]:
        """A rule's alerts that are not resolved, by what they are about."""
        query = (
            select(*_ALERT)
            .where(alerts.c.app_id == self._app, alerts.c.rule == rule, alerts.c.state != "resolved")
            .order_by(alerts.c.about)
        )
        return [Alert(**row) for row in self._connection.execute(query).mappings()]

    def unwritten(self, rule: str, *, since: datetime) -> list[Alert]:
        """A rule's alerts with a notice that was decided on and that is not among the notifications yet.

        Args:
            rule: Which rule.
            since: When those that do not fire any more changed; older ones are settled, whatever has been purged since.
        """

        def missing(notice: ColumnElement[str]) -> ColumnElement[bool]:
            return ~select(notifications.c.id).where(notifications.c.id == notice).exists()

        fires = (alerts.c.state == "firing") | (alerts.c.fired_at > since)
        query = (
            select(*_ALERT)
            .where(
                alerts.c.app_id == self._app,
                alerts.c.rule == rule,
                or_(
                    fires & alerts.c.fired_notice.is_not(None) & missing(alerts.c.fired_notice),
                    (alerts.c.resolved_at > since)
                    & alerts.c.resolved_notice.is_not(None)
                    & missing(alerts.c.resolved_notice),
                ),
            )
            .order_by(alerts.c.id)
        )
        return [Alert(**row) for row in self._connection.execute(query).mappings()]

    def settings(self, rule: str) -> dict[str, float]:
        """The thresholds that an administrator has set for a rule."""
        return self.all_settings().get(rule, {})

    def all_settings(self) -> dict[str, dict[str, float]]:
        """The thresholds that an administrator has set, by rule."""
        query = select(rule_settings.c.rule, rule_settings.c.name, rule_settings.c.value).where(
            rule_settings.c.app_id == self._app
        )
        found: dict[str, dict[str, float]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.rule, {})[row.name] = row.value
        return found

    def carried(self, carrier: str, *, since: datetime) -> bool:
        """Whether a carrier has taken a letter since a moment."""
        query = select(deliveries.c.id).where(
            deliveries.c.app_id == self._app,
            deliveries.c.carrier == carrier,
            deliveries.c.state.in_(("sent", "delivered")),
            deliveries.c.claimed_at > since,
        )
        return self._connection.scalar(query.limit(1)) is not None

    def of_the_house(self) -> bool:
        """Whether this is the application whose administrators hear about the machines."""
        return bool(self._connection.scalar(select(apps.c.is_house).where(apps.c.id == self._app)))
