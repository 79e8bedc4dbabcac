"""Try one delivery: claim its row, write the letter, hand it to the carrier, record the outcome."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.alerting import ReportFinding
from backroom.domain.delivery import FINAL, Verdict, judge, may_repeat
from backroom.domain.errors import (
    Cancel,
    Invalid,
    Misconfigured,
    Permanent,
    Rejected,
    Snooze,
    TemplateFailed,
    Unreachable,
)
from backroom.domain.job import AppMessage, job
from backroom.domain.letter import Channel, Letter
from backroom.domain.notification import NotificationType
from backroom.store.rows import Delivery, Errand, User
from backroom.tools import Tools

log = structlog.get_logger()


class AttemptDelivery(AppMessage, frozen=True, kw_only=True):
    """Which delivery. The message's id is the delivery's."""

    delivery: str


@job("delivery.attempt", queue="deliveries", time_limit=timedelta(minutes=3))
def attempt_delivery(message: AttemptDelivery, tools: Tools) -> None:
    """Hand one letter to its carrier, once."""
    errand = tools.read.notifications.errand(message.delivery)
    if errand is None:
        raise Cancel("the delivery is not there any more")
    delivery = errand.delivery
    if delivery.state in FINAL:
        return
    kind = tools.words.types.get(errand.notification.type)
    channel = tools.channels.get(delivery.medium)
    if kind is None or channel is None:
        _settle(delivery, Verdict(state="failed", reason="its type or carrier is not on the shelf"), tools)
        raise Permanent(f"no type or no {delivery.medium} carrier for a delivery that was accepted")

    if delivery.state == "sending":
        # Whoever claimed it wrote no outcome: killed between the carrier's answer and the row, or before either.
        if not may_repeat(after_crash=kind.after_crash, repeatable=channel.repeatable):
            _settle(delivery, Verdict(state="unknown", reason="worker_lost"), tools)
            return
        tools.write.notifications.reclaim(delivery.id)

    to = _address(errand.reader, channel)
    if errand.reader is None or not to:
        _settle(delivery, Verdict(state="skipped", reason="no_contact"), tools)
    elif to in errand.suppressed:
        _settle(delivery, Verdict(state="refused", reason="suppressed"), tools)
    else:
        _send(delivery, _write(errand, errand.reader, to, tools), kind, channel, tools)


def _address(reader: User | None, channel: Channel) -> str:
    if reader is None:
        return ""
    return reader.contacts.get(channel.contact, "") if channel.contact else reader.id


def _write(errand: Errand, reader: User, to: str, tools: Tools) -> Letter:
    delivery, notification = errand.delivery, errand.notification
    try:
        rendered = tools.words.render(
            notification.type,
            delivery.medium,
            locale=reader.locale,
            time_zone=reader.time_zone,
            data=notification.data,
            user={"id": reader.id, "name": reader.name, "locale": reader.locale},
            app={"name": errand.app_name},
        )
    # The type may have lost this medium since it was accepted, or never had what the template asks for.
    except (Invalid, TemplateFailed) as failure:
        _settle(delivery, Verdict(state="failed", reason=str(failure)), tools)
        raise
    return Letter(
        delivery=delivery.id,
        app=tools.app,
        user=reader.id,
        type=notification.type,
        to=to,
        locale=rendered.locale,
        parts=rendered.parts,
        attempt=delivery.attempts + 1,
    )


def _send(delivery: Delivery, letter: Letter, kind: NotificationType, channel: Channel, tools: Tools) -> None:
    claimed = tools.write.notifications.claim(delivery.id, carrier=channel.name, at=tools.now())
    # Committed before the carrier hears of it: from here on a crash leaves a row that says so.
    tools.commit()
    if claimed is None:
        return
    try:
        receipt = channel.send(letter)
    except (Rejected, Unreachable, Misconfigured) as error:
        verdict = judge(
            error,
            attempt=claimed.attempts,
            age=tools.now() - claimed.created_at,
            after_crash=kind.after_crash,
            repeatable=channel.repeatable,
            chance=tools.chance(),
        )
        log.info(
            "delivery.not_taken", delivery=delivery.id, medium=delivery.medium, state=verdict.state, code=verdict.code
        )
        _settle(claimed, verdict, tools, address=letter.to)
        if verdict.state == "retrying":
            raise Snooze(verdict.after, verdict.reason) from error
        return

    def record() -> None:
        if receipt.keep:
            tools.write.inbox.add(
                {
                    "id": delivery.id,
                    "user_id": delivery.user_id,
                    "notification_id": delivery.notification_id,
                    "type": letter.type,
                    **receipt.keep,
                }
            )
        tools.write.notifications.settle(
            delivery.id,
            state="delivered" if receipt.delivered else "sent",
            provider_id=receipt.provider_id,
            # What an earlier try said is history now.
            reason="",
            code="",
            locale=letter.locale,
        )

    tools.insist(record)


def _settle(delivery: Delivery, verdict: Verdict, tools: Tools, *, address: str = "") -> None:
    def record() -> None:
        tools.write.notifications.settle(
            delivery.id,
            state=verdict.state,
            reason=verdict.reason,
            code=verdict.code,
            attempts=delivery.attempts if verdict.counts else delivery.attempts - 1,
            due_at=tools.now() + verdict.after if verdict.state == "retrying" else None,
        )
        if verdict.suppress and address:
            tools.write.users.suppress(medium=delivery.medium, address=address, reason=verdict.reason)

    # Not in `record`, which may run several times.
    if verdict.alarm:
        _raise_alarm(delivery, verdict, tools)
    tools.insist(record)


def _raise_alarm(delivery: Delivery, verdict: Verdict, tools: Tools) -> None:
    # The letter that tells of it may fail for the same reason and come by here: that finds the alert open, and ends.
    report = ReportFinding(
        app=tools.app,
        rule="carrier.misconfigured",
        about=delivery.carrier,
        says=f"{delivery.carrier} refuses us: {verdict.reason}",
        severity="critical",
        evidence={"channel": delivery.medium, "reason": verdict.reason, "code": verdict.code},
    )
    # Ten thousand letters that are refused in the same minute are one report.
    tools.later(report, id=f"alert.report:{tools.app}:{delivery.carrier}:{tools.now():%Y%m%dT%H%M}")
