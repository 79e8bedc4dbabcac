"""Look whether something is wrong: run an alert rule and carry out what follows from what it found."""

from __future__ import annotations

from datetime import timedelta

from backroom.domain.alerting import crowd
from backroom.domain.errors import Cancel
from backroom.domain.job import Message, job
from backroom.domain.rule import HOLD, Rule
from backroom.tools import Tools
from jobs._alerts import settle


class CheckRule(Message, frozen=True, kw_only=True):
    """Which rule, for whom.

    Attributes:
        app: The application; left out, the rule is checked for every application that it is for: the house application
            for a rule about the machines, all of them for any other.
        rule: The rule; left out, every rule.
    """

    app: str = ""
    rule: str = ""


# Few attempts: the clock asks again within a minute or so, and a rule that is broken must not fill the dead letters.
@job("rule.check", queue="alerts", attempts=2, time_limit=timedelta(minutes=2))
def check_rule(message: CheckRule, tools: Tools) -> None:
    """Run an alert rule: open, fire and resolve its alerts."""
    if message.rule and message.rule not in tools.rules:
        raise Cancel("the rule is not on the shelf any more")
    rules = [tools.rules[message.rule]] if message.rule else list(tools.rules.values())
    house = tools.house_app()
    if message.app:
        for rule in rules:
            if rule.scope == "app" or message.app == house:
                _check(rule, tools)
        return
    # One message for each: a rule that breaks over one application's rows must not blind us to the others'.
    for mine in tools.each_app():
        for rule in rules:
            if rule.scope == "app" or mine.app == house:
                mine.later(CheckRule(app=mine.app, rule=rule.name))


def _check(rule: Rule, tools: Tools) -> None:
    sight = tools.sight(rule)
    said = crowd(rule.check(sight), known=sight.open())
    hold = timedelta(seconds=sight.setting(HOLD, rule.hold.total_seconds()))
    watched = settle(rule.name, said, severity=rule.severity, hold=hold, tools=tools)
    if watched:
        # Look again when the hold is over, rather than at the clock's next tick after it.
        tools.later(CheckRule(app=tools.app, rule=rule.name), delay=hold)
