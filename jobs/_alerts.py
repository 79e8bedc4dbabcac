"""Carries out what was decided about alerts: writes their rows, and tells the administrators once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import structlog

from backroom.domain.alerting import Standing, Step, next_step, notice
from backroom.domain.rule import Clear, Finding, Severity
from backroom.store.rows_alerts import Alert
from backroom.tools import Tools
from jobs.notification_send import SendNotification

log = structlog.get_logger()

NOTICE = "admin_notice"
# A notice that was decided on is handed on again until it is among the notifications. Not for ever: notifications are
# purged one day, and nobody wants to hear of last year's alerts then.
HANDED_ON_FOR = timedelta(days=1)


def settle(rule: str, said: Sequence[Finding | Clear], *, severity: Severity, hold: timedelta, tools: Tools) -> bool:
    """Take in what was said about a rule's alerts.

    Args:
        rule: Its name.
        said: Findings and clears; where two are about the same, the last one counts.
        severity: How bad a finding is.
        hold: How long a finding must stand before it fires.
        tools: Of the job; nothing is committed here.

    Returns:
        Whether a hold began.
    """
    standing = {alert.about: alert for alert in tools.read.alerts.open(rule)}
    watched = False
    # In order, so that two checks at once wait for each other and never crosswise.
    for about, one in sorted({one.about: one for one in said}.items()):
        alert = standing.get(about)
        step = next_step(_standing(alert), one, now=tools.now(), hold=hold)
        watched |= step == "watch"
        if isinstance(one, Finding):
            _take_in(step, alert, one, rule=rule, severity=severity, tools=tools)
        elif alert is not None:
            _let_go(step, alert, one, tools=tools)
    _tell(rule, tools)
    return watched


def _standing(alert: Alert | None) -> Standing | None:
    if alert is None or alert.state == "resolved":
        return None
    return Standing(state=alert.state, found_at=alert.found_at, seen_at=alert.seen_at)


def _take_in(step: Step, alert: Alert | None, finding: Finding, *, rule: str, severity: Severity, tools: Tools) -> None:
    now = tools.now()
    seen: dict[str, Any] = {"says": finding.says, "evidence": dict(finding.evidence)}
    if alert is None:
        fires = step == "fire"
        row = {
            "id": tools.new_id(),
            "rule": rule,
            "about": finding.about,
            "severity": severity,
            "state": "firing" if fires else "pending",
            "found_at": now,
            "seen_at": now,
            "fired_at": now if fires else None,
            **seen,
        }
        if tools.write.alerts.open(row) and fires:
            log.info("alert.fired", rule=rule, alert=row["id"])
    elif step == "watch":
        tools.write.alerts.watch(alert.id, at=now, **seen)
    elif step == "see":
        tools.write.alerts.see(alert.id, at=now, **seen)
    elif step == "fire" and tools.write.alerts.fire(alert.id, at=now, **seen):
        log.info("alert.fired", rule=rule, alert=alert.id)


def _let_go(step: Step, alert: Alert, clear: Clear, *, tools: Tools) -> None:
    if step == "forget":
        tools.write.alerts.forget(alert.id)
    elif step == "resolve" and tools.write.alerts.resolve(
        alert.id, at=tools.now(), says=clear.says, notice=tools.new_id()
    ):
        log.info("alert.resolved", rule=alert.rule, alert=alert.id)


def _tell(rule: str, tools: Tools) -> None:
    untold = [alert for alert in tools.read.alerts.open(rule) if alert.state == "firing" and not alert.fired_notice]
    if untold:
        administrators = tools.read.users.administrators()
        for alert in untold:
            if administrators:
                tools.write.alerts.tell(alert.id, users=administrators, notice=tools.new_id())
            else:
                # The alert stays untold, and the first check that finds an administrator tells them.
                log.warning("alert.nobody_told", rule=rule, alert=alert.id)
    # Not only those just decided on: a check before this one may have been killed between its commit and its hand-on.
    # A notice's message has the notice's id, so handing it on twice is handing it on once.
    for alert in tools.read.alerts.unwritten(rule, since=tools.now() - HANDED_ON_FOR):
        if alert.fired_notice and alert.fired_at:
            tools.later(_letter(alert, "firing", tools), id=alert.fired_notice)
        if alert.resolved_notice and alert.resolved_at:
            tools.later(_letter(alert, "resolved", tools), id=alert.resolved_notice)


def _letter(alert: Alert, state: Literal["firing", "resolved"], tools: Tools) -> SendNotification:
    return SendNotification(
        app=tools.app,
        type=NOTICE,
        to=alert.told,
        data=notice(
            rule=alert.rule,
            about=alert.about,
            says=alert.says,
            severity=alert.severity,
            state=state,
            # What supported it is not so any more.
            evidence=alert.evidence if state == "firing" else {},
            since=alert.fired_at or alert.found_at,
        ),
        accepted_at=tools.now(),
    )
