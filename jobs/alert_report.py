"""Open or resolve an alert that another job reports."""

from __future__ import annotations

from datetime import timedelta

from backroom.domain.alerting import ReportFinding
from backroom.domain.job import job
from backroom.domain.rule import Clear, Finding
from backroom.tools import Tools
from jobs._alerts import settle


@job("alert.report", queue="alerts")
def report_finding(message: ReportFinding, tools: Tools) -> None:
    """Take in what another job found out."""
    said: Finding | Clear
    if message.state == "clear":
        said = Clear(about=message.about, says=message.says)
    else:
        said = Finding(about=message.about, says=message.says, evidence=message.evidence)
    # What a job found out has happened: there is nothing to wait for.
    settle(message.rule, [said], severity=message.severity, hold=timedelta(0), tools=tools)
