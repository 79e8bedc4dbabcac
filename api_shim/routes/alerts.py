"""Alerts: what is wrong, who knows, and when a rule finds that it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_type_hints

import falcon.asgi
import msgspec

from api_shim.asked import is_uuid, page_after, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.contract import AFTER, PREFER, Answer, Moment, Parameter, accepts, limit, speaks
from api_shim.door import Door, allow, moment
from api_shim.problem import not_found
from backroom.domain import rule as declared
from backroom.domain.errors import Invalid
from backroom.domain.pointer import escaped
from backroom.store import rows_alerts
from backroom.words.near import unknown
from jobs.alert_acknowledge import AcknowledgeAlert
from jobs.rule_set import SetRule

STATES = get_args(get_type_hints(rows_alerts.Alert)["state"])
MOST_SETTINGS = 50
LARGEST = 1e9


class AcknowledgementBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who takes the alert on.

    Attributes:
        by: A name that the other administrators know.
    """

    by: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SettingsBody(msgspec.Struct, forbid_unknown_fields=True):
    """The thresholds that differ from the rule's own.

    Attributes:
        settings: By their names; those left out go back to the rule's own.
    """

    settings: Annotated[dict[str, float], msgspec.Meta(max_length=MOST_SETTINGS)]


class Acknowledged(msgspec.Struct):
    """Who has taken an alert on.

    Attributes:
        by: The first one who did.
        at: When.
    """

    by: str
    at: Moment


class Notices(msgspec.Struct):
    """The notifications that told the administrators.

    Attributes:
        firing: That it fired.
        resolved: That it was fine again.
    """

    firing: str | None
    resolved: str | None


class Alert(msgspec.Struct):
    """Something that was found to be wrong.

    Attributes:
        id: Its id.
        rule: Which rule found it.
        about: What it is about.
        severity: How bad it is.
        state: `pending` while its hold lasts, then `firing`, then `resolved`.
        says: The last sentence about it.
        evidence: Small plain values that support it.
        found_at: When the finding began to stand.
        seen_at: When it was last seen.
        fired_at: When it fired.
        resolved_at: When it was fine again.
        acknowledged: Who has taken it on.
        told: The administrators who were told that it fired.
        remark: What an administrator should know about it.
        notices: The notifications about it.
    """

    id: str
    rule: str
    about: str
    severity: str
    state: Literal["pending", "firing", "resolved"]
    says: str
    evidence: dict[str, Any]
    found_at: Moment
    seen_at: Moment
    fired_at: Moment | None
    resolved_at: Moment | None
    acknowledged: Acknowledged | None
    told: list[str]
    remark: str | None
    notices: Notices


class AlertPage(msgspec.Struct):
    """Alerts, newest first.

    Attributes:
        alerts: This page's.
        next: The cursor of the page that follows; null on the last one.
    """

    alerts: list[Alert]
    next: str | None


class Rule(msgspec.Struct):
    """What finds alerts.

    Attributes:
        name: Its name.
        about: What it finds.
        severity: How bad that is.
        scope: `app` looks at one application, `host` at the machines.
        every: When it looks: a crontab line, or seconds.
        settings: Its thresholds.
        defaults: Its own thresholds.
    """

    name: str
    about: str
    severity: str
    scope: str
    every: str | float
    settings: Mapping[str, float]
    defaults: Mapping[str, float]


class Rules(msgspec.Struct):
    """All rules.

    Attributes:
        rules: Those that look at this application; the house application's has those of the machines, too.
    """

    rules: list[Rule]


class AcknowledgedAlert(msgspec.Struct):
    """An alert that somebody has taken on.

    Attributes:
        id: The alert.
        acknowledged_by: The first who did.
    """

    id: str
    acknowledged_by: str


class SetThresholds(msgspec.Struct):
    """What is set from now on.

    Attributes:
        rule: The rule.
        set: Its thresholds that are not its own.
    """

    rule: str
    set: dict[str, float]


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {
        "/v1/alerts": Alerts(door),
        "/v1/alerts/rules": AllRules(door),
        "/v1/alerts/rules/{rule}": OneRule(door),
        "/v1/alerts/{alert}": OneAlert(door),
        "/v1/alerts/{alert}/acknowledgement": Acknowledgement(door),
    }


class Alerts:
    """The application's alerts."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(
        asks=[
            Parameter(name="state", place="query", about="Only these.", schema={"type": "string", "enum": [*STATES]}),
            limit(),
            AFTER,
        ],
        gives={200: Answer(about="The page.", body=AlertPage)},
    )
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The newest alerts, in pages; `state` picks `pending`, `firing` or `resolved`."""
        before, most, state = page_after(req), page_limit(req), req.get_param("state")
        if state is not None and state not in STATES:
            raise unknown("/state", "state", state, STATES)
        found = await self._door.ask(
            req.context.caller, lambda read: read.alerts.page(state=state, before=before, limit=most)
        )
        page = AlertPage(alerts=[_shown(alert) for alert in found], next=found[-1].id if len(found) == most else None)
        resp.data = msgspec.json.encode(page)


class OneAlert:
    """One alert."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(gives={200: Answer(about="The alert.", body=Alert)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, alert: str) -> None:
        """What is wrong, since when, what supports it, and who was told."""
        resp.data = msgspec.json.encode(_shown(await _find(self._door, req, alert)))


class Acknowledgement:
    """Who takes an alert on."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(
        takes=AcknowledgementBody,
        asks=[PREFER],
        gives=accepts(done={200: Answer(about="Who has it: the caller waited.", body=AcknowledgedAlert)}),
        problems={404: "There is no such alert."},
    )
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, alert: str) -> None:
        """Take the alert on; the first one to do so counts."""
        caller: Caller = req.context.caller
        body = await self._door.body(req, AcknowledgementBody)
        found = await _find(self._door, req, alert)
        message = AcknowledgeAlert(app=caller.app, alert=found.id, by=body.by, at=utc_now())
        await self._door.hand_on(req, resp, message, location=f"/v1/alerts/{found.id}")


class AllRules:
    """The rules that find alerts."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(gives={200: Answer(about="The rules.", body=Rules)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Each rule with its meaning, how bad its findings are, and its thresholds."""
        rules, settings = await _rules(self._door, req)
        shown = Rules(rules=[_shown_rule(rule, settings.get(rule.name, {})) for rule in rules.values()])
        resp.data = msgspec.json.encode(shown)


class OneRule:
    """One rule's thresholds."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(
        takes=SettingsBody,
        asks=[PREFER],
        gives=accepts(done={200: Answer(about="They are set: the caller waited.", body=SetThresholds)}),
    )
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, rule: str) -> None:
        """Replace the thresholds; the rule is checked at once."""
        caller: Caller = req.context.caller
        body = await self._door.body(req, SettingsBody)
        rules, _ = await _rules(self._door, req)
        if rule not in rules:
            raise unknown("/rule", "rule", rule, rules)
        for name, value in body.settings.items():
            if name not in rules[rule].settings:
                raise unknown(f"/settings/{escaped(name[:80])}", "setting of this rule", name, rules[rule].settings)
            if not math.isfinite(value) or not 0 <= value <= LARGEST:
                raise Invalid(f"/settings/{name}", "is not a threshold", f"a number from 0 to {LARGEST:.0f}")
        message = SetRule(app=caller.app, rule=rule, settings=body.settings)
        await self._door.hand_on(req, resp, message, location="/v1/alerts/rules")


async def _find(door: Door, req: falcon.asgi.Request, alert: str) -> rows_alerts.Alert:
    found = await door.ask(req.context.caller, lambda read: read.alerts.one(alert)) if is_uuid(alert) else None
    if found is None:
        raise not_found()
    return found


async def _rules(
    door: Door, req: falcon.asgi.Request
) -> tuple[Mapping[str, declared.Rule], Mapping[str, Mapping[str, float]]]:
    house, settings = await door.ask(
        req.context.caller, lambda read: (read.alerts.of_the_house(), read.alerts.all_settings())
    )
    # Only the house application hears about the machines, so only it may say when.
    return {name: rule for name, rule in door.shelves.rules.items() if rule.scope == "app" or house}, settings


def _shown_rule(rule: declared.Rule, settings: Mapping[str, float]) -> Rule:
    return Rule(
        name=rule.name,
        about=rule.about,
        severity=rule.severity,
        scope=rule.scope,
        every=rule.every if isinstance(rule.every, str) else rule.every.total_seconds(),
        settings={**rule.settings, **settings},
        defaults=rule.settings,
    )


def _shown(alert: rows_alerts.Alert) -> Alert:
    taken = alert.acknowledged_at
    return Alert(
        id=alert.id,
        rule=alert.rule,
        about=alert.about,
        severity=alert.severity,
        state=alert.state,
        says=alert.says,
        evidence=alert.evidence,
        found_at=moment(alert.found_at),
        seen_at=moment(alert.seen_at),
        fired_at=moment(alert.fired_at),
        resolved_at=moment(alert.resolved_at),
        acknowledged=Acknowledged(by=alert.acknowledged_by, at=moment(taken)) if taken else None,
        told=alert.told,
        remark="nobody was told: the application has no administrator" if alert.fired_at and not alert.told else None,
        notices=Notices(firing=alert.fired_notice, resolved=alert.resolved_notice),
    )
