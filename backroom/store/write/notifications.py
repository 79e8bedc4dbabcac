"""Changes to notifications and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, update
from sqlalchemy.dialects.postgresql import insert

from backroom.store.rows import Delivery
from backroom.store.tables import deliveries, notifications

_DELIVERY = [deliveries.c[name] for name in Delivery.__dataclass_fields__]


class NotificationChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def add(self, notification: Mapping[str, Any]) -> None:
        """Write a notification, once however often it is asked."""
        row = {"app_id": self._app, **notification}
        self._connection.execute(insert(notifications).values(row).on_conflict_do_nothing())

    def add_deliveries(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write the deliveries that are not there yet.

        Returns:
            The ids of those that were added and wait to be sent.
        """
        if not rows:
            return []
        command = (
            insert(deliveries)
            .on_conflict_do_nothing(
                index_elements=[deliveries.c.notification_id, deliveries.c.user_id, deliveries.c.medium]
            )
            .returning(deliveries.c.id, deliveries.c.state)
        )
        added = self._connection.execute(command, [{"app_id": self._app, **row} for row in rows])
        return [row.id for row in added if row.state == "waiting"]

    def claim(self, delivery: str, *, carrier: str, at: datetime) -> Delivery | None:
        """Take a delivery for one try: exactly one caller gets it.

        Returns:
            The row as it is now, with the try counted; None where it is not waiting to be tried.
        """
        command = (
            update(deliveries)
            .where(
                deliveries.c.app_id == self._app,
                deliveries.c.id == delivery,
                deliveries.c.state.in_(("waiting", "retrying")),
            )
            .values(state="sending", attempts=deliveries.c.attempts + 1, carrier=carrier, claimed_at=at, due_at=None)
            .returning(*_DELIVERY)
        )
        row = self._connection.execute(command).mappings().one_or_none()
        return Delivery(**row) if row else None

    def reclaim(self, delivery: str) -> None:
        """Take back a try whose worker is gone and which may be repeated."""
        self._settle(delivery, from_states=("sending",), state="retrying", reason="worker_lost")

    def settle(self, delivery: str, *, state: str, **outcome: object) -> None:
        """Write what became of a try that was claimed.

        Args:
            delivery: Its id.
            state: Where it goes.
            outcome: Columns of the table: `provider_id`, `reason`, `code`, `attempts`, `due_at`, `locale`.
        """
        self._settle(delivery, from_states=("sending", "waiting", "retrying", "unknown"), state=state, **outcome)

    def _settle(self, delivery: str, *, from_states: Sequence[str], state: str, **outcome: object) -> None:
        final = state not in {"waiting", "retrying"}
        command = (
            update(deliveries)
            .where(deliveries.c.app_id == self._app, deliveries.c.id == delivery, deliveries.c.state.in_(from_states))
            .values(state=state, finished_at=func.now() if final else None, **outcome)
        )
        self._connection.execute(command)
