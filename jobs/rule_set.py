"""Set the thresholds of an alert rule."""

from __future__ import annotations

import msgspec

from backroom.domain.job import AppMessage, job
from backroom.tools import Tools
from jobs.rule_check import CheckRule


class SetRule(AppMessage, frozen=True, kw_only=True):
    """All thresholds that differ from the rule's own; those left out go back to them."""

    rule: str
    settings: dict[str, float] = msgspec.field(default_factory=dict)


@job("rule.set", queue="alerts")
def set_rule(message: SetRule, tools: Tools) -> None:
    """Replace an application's thresholds of a rule, and check it at once."""
    tools.write.alerts.set_thresholds(message.rule, message.settings)
    tools.later(CheckRule(app=message.app, rule=message.rule))
    tools.answer(tools.message_id, {"status": 200, "body": {"rule": message.rule, "set": message.settings}})
