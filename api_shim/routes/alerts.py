"""Alerts: what is wrong, who knows, and when a rule finds that it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_type_hints

import falcon.asgi
import msgspec

from api_shim.asked import is_uuid, page_after, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.door import Door, allow, moment
from api_shim.problem import not_found
from backroom.domain.errors import Invalid
from backroom.domain.pointer import escaped
from backroom.domain.rule import Rule
from backroom.store.rows_alerts import Alert
from backroom.words.near import unknown
from jobs.alert_acknowledge import AcknowledgeAlert
from jobs.rule_set import SetRule

STATES = get_args(get_type_hints(Alert)["state"])
MOST_SETTINGS = 50
LARGEST = 1e9


class AcknowledgementBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who takes the alert on."""

    by: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SettingsBody(msgspec.Struct, forbid_unknown_fields=True):
    """The thresholds that differ from the rule's own; those left out go back to them."""

    settings: Annotated[dict[str, float], msgspec.Meta(max_length=MOST_SETTINGS)]


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {
        "/v1/alerts": Alerts(door),
        "/v1/alerts/rules": Rules(door),
        "/v1/alerts/rules/{rule}": OneRule(door),
        "/v1/alerts/{alert}": OneAlert(door),
        "/v1/alerts/{alert}/acknowledgement": Acknowledgement(door),
    }


class Alerts:
    """The application's alerts."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The newest alerts, in pages; `state` picks `pending`, `firing` or `resolved`."""
        before, limit, state = page_after(req), page_limit(req), req.get_param("state")
        if state is not None and state not in STATES:
            raise unknown("/state", "state", state, STATES)
        found = await self._door.ask(
            req.context.caller, lambda read: read.alerts.page(state=state, before=before, limit=limit)
        )
        resp.data = msgspec.json.encode(
            {"alerts": [_shown(alert) for alert in found], "next": found[-1].id if len(found) == limit else None}
        )


class OneAlert:
    """One alert."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, alert: str) -> None:
        """What is wrong, since when, what supports it, and who was told."""
        resp.data = msgspec.json.encode(_shown(await _find(self._door, req, alert)))


class Acknowledgement:
    """Who takes an alert on."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, alert: str) -> None:
        """Take the alert on; the first one to do so counts."""
        caller: Caller = req.context.caller
        body = await self._door.body(req, AcknowledgementBody)
        found = await _find(self._door, req, alert)
        message = AcknowledgeAlert(app=caller.app, alert=found.id, by=body.by, at=utc_now())
        await self._door.hand_on(req, resp, message, location=f"/v1/alerts/{found.id}")


class Rules:
    """The rules that find alerts."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Each rule with its meaning, how bad its findings are, and its thresholds."""
        rules, settings = await _rules(self._door, req)
        resp.data = msgspec.json.encode(
            {"rules": [_shown_rule(rule, settings.get(rule.name, {})) for rule in rules.values()]}
        )


class OneRule:
    """One rule's thresholds."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
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


async def _find(door: Door, req: falcon.asgi.Request, alert: str) -> Alert:
    found = await door.ask(req.context.caller, lambda read: read.alerts.one(alert)) if is_uuid(alert) else None
    if found is None:
        raise not_found()
    return found


async def _rules(door: Door, req: falcon.asgi.Request) -> tuple[Mapping[str, Rule], Mapping[str, Mapping[str, float]]]:
    house, settings = await door.ask(
        req.context.caller, lambda read: (read.alerts.of_the_house(), read.alerts.all_settings())
    )
    # Only the house application hears about the machines, so only it may say when.
    return {name: rule for name, rule in door.shelves.rules.items() if rule.scope == "app" or house}, settings


def _shown_rule(rule: Rule, settings: Mapping[str, float]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "about": rule.about,
        "severity": rule.severity,
        "scope": rule.scope,
        "every": rule.every if isinstance(rule.every, str) else rule.every.total_seconds(),
        "settings": {**rule.settings, **settings},
        "defaults": rule.settings,
    }


def _shown(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "rule": alert.rule,
        "about": alert.about,
        "severity": alert.severity,
        "state": alert.state,
        "says": alert.says,
        "evidence": alert.evidence,
        "found_at": moment(alert.found_at),
        "seen_at": moment(alert.seen_at),
        "fired_at": moment(alert.fired_at),
        "resolved_at": moment(alert.resolved_at),
        "acknowledged": {"by": alert.acknowledged_by, "at": moment(alert.acknowledged_at)}
        if alert.acknowledged_at
        else None,
        "told": alert.told,
        "remark": "nobody was told: the application has no administrator"
        if alert.fired_at and not alert.told
        else None,
        "notices": {"firing": alert.fired_notice, "resolved": alert.resolved_notice},
    }
