"""Remember who takes an alert on."""

from __future__ import annotations

from datetime import datetime

from backroom.domain.job import AppMessage, job
from backroom.tools import Tools


class AcknowledgeAlert(AppMessage, frozen=True, kw_only=True):
    """Which alert, who, and when."""

    alert: str
    by: str
    at: datetime


@job("alert.acknowledge", queue="alerts")
def acknowledge_alert(message: AcknowledgeAlert, tools: Tools) -> None:
    """Note who takes an alert on; the first one counts."""
    tools.write.alerts.acknowledge(message.alert, by=message.by, at=message.at)
    alert = tools.read.alerts.one(message.alert)
    tools.answer(
        tools.message_id,
        {"status": 200, "body": {"id": message.alert, "acknowledged_by": alert.acknowledged_by if alert else ""}},
    )
