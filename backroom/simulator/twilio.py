"""Twilio's Messages resource: create one, read one, list them."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import secrets
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import falcon
import falcon.asgi
import msgspec

from backroom.simulator.desk import Desk, body_of
from backroom.simulator.letter import Letter, Outcome
from backroom.simulator.magic import KEY_REVOKED, of_number
from backroom.simulator.segments import segments

VERSION = "2010-04-01"
FORM_LIMIT = 65_536
FIELD_LIMIT = 100
BODY_LENGTH = 1_600
VALIDITY_SECONDS = range(1, 36_001)
CALLBACK_LENGTH = 4_000
PAGE_SIZES = range(1, 1_001)

_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
# A number, a short code, or a name with at least one letter.
_SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}")
_ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
_USER = re.compile(r"(?:AC|SK)[0-9a-fA-F]{32}")
_DELIVERY = re.compile(r"[/?&;]delivery=([^/&#;?]+)")

_SAYS = {
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    20500: "Internal Server Error",
    21211: "The 'To' number is not a valid phone number.",
    21212: "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID.",
    21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number.",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21609: "The 'StatusCallback' URL is not a valid URL.",
    21610: "Attempt to send to unsubscribed recipient",
    21612: "The 'To' phone number is not currently reachable from this 'From' number.",
    21614: "'To' number is not a valid mobile number",
    21617: f"The concatenated message body exceeds the {BODY_LENGTH} character limit.",
    21624: "Validity period can only be set to integers between 1 and 36,000 seconds.",
    30005: "Unknown destination handset",
}
_STATUS = {20003: 401, 20404: 404, 20429: 429, 20500: 500}


class Messages:
    """`/2010-04-01/Accounts/{account}/Messages.json`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, account: str) -> None:
        """Judge a message, keep it and answer as Twilio does."""
        if code := _stopped(req, account):
            return _refuse(resp, code)
        body = await body_of(req, limit=FORM_LIMIT)
        if body is None:
            return _refuse(resp, 21617)
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELD_LIMIT))
        except ValueError:
            return _refuse(resp, 21602)
        if code := wrong(form):
            return _refuse(resp, code)
        return await self._take(form, resp, account=account)

    async def _take(self, form: dict[str, str], resp: falcon.asgi.Response, *, account: str) -> None:
        delivery = delivery_of(form.get("StatusCallback", ""))
        behaviour = of_number(form["To"], seen=self._desk.box.seen(delivery, form["To"]))
        accepted = behaviour.outcome in {Outcome.DELIVERED, Outcome.BOUNCED, Outcome.UNANSWERED}
        status = 201 if accepted else _STATUS.get(behaviour.code, 400)
        text = form.get("Body", "")
        parts, encoding = segments(text)
        letter = self._desk.keep(
            Letter(
                id=self._desk.new_id(),
                medium="sms",
                carrier="twilio",
                provider_id=f"SM{secrets.token_hex(16)}" if accepted else "",
                at=self._desk.stamp(),
                sender=form.get("From", "") or form.get("MessagingServiceSid", ""),
                to=form["To"],
                text=text,
                headers={"AccountSid": account, **{name: value for name, value in form.items() if name != "Body"}},
                segments=parts,
                encoding=encoding,
                delivery=delivery,
                outcome=behaviour.outcome,
                answer=_answer(behaviour.outcome, status, behaviour.code),
                accepted=accepted,
            )
        )
        if behaviour.outcome is Outcome.UNANSWERED:
            await self._desk.say_nothing()
            resp.status = falcon.HTTP_504
            return None
        if not accepted:
            if behaviour.outcome is Outcome.LIMITED:
                resp.set_header("Retry-After", "1")
            return _refuse(resp, behaviour.code)
        return _answer_with(resp, resource(letter, fresh=True), status=201)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, account: str) -> None:
        """List messages, newest first, perhaps only those to one number."""
        if code := _stopped(req, account):
            return _refuse(resp, code)
        size = req.get_param_as_int("PageSize", default=50, min_value=PAGE_SIZES.start, max_value=PAGE_SIZES.stop - 1)
        to = req.get_param("To", default="")
        found = (
            letter
            for letter in map(
                self._desk.box.read,
                self._desk.box.find(medium="sms", to=to, after=req.get_param("PageToken", default="")),
            )
            if letter.accepted and letter.headers.get("AccountSid") == account
        )
        letters = list(itertools.islice(found, size))
        base = f"/{VERSION}/Accounts/{account}/Messages.json"
        asked = {"PageSize": str(size), **({"To": to} if to else {})}
        more = letters and next(found, None) is not None
        page = {
            "messages": [resource(letter) for letter in letters],
            "first_page_uri": f"{base}?{urlencode({**asked, 'Page': '0'})}",
            "next_page_uri": f"{base}?{urlencode({**asked, 'PageToken': letters[-1].id})}" if more else None,
            "previous_page_uri": None,
            "page": 0,
            "page_size": size,
            "start": 0,
            "end": max(len(letters) - 1, 0),
            "uri": f"{base}?{urlencode(asked)}",
        }
        return _answer_with(resp, page, status=200)


class Message:
    """`/2010-04-01/Accounts/{account}/Messages/{sid}.json`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, account: str, sid: str) -> None:
        """One message, with what became of it."""
        if code := _stopped(req, account):
            return _refuse(resp, code)
        letter = self._desk.box.by_provider(sid)
        if letter is None or letter.headers.get("AccountSid") != account:
            return _refuse(resp, 20404)
        return _answer_with(resp, resource(letter), status=200)


def wrong(form: dict[str, str]) -> int:
    """The code of the first thing that is wrong with a message; 0 for a good one."""
    to, sender = form.get("To", ""), form.get("From", "")
    if not to:
        return 21604
    if not _NUMBER.fullmatch(to):
        return 21211
    if not sender and not form.get("MessagingServiceSid"):
        return 21603
    if sender and not _SENDER.fullmatch(sender):
        return 21212
    return _wrong_words(form) or _wrong_wishes(form)


def _wrong_words(form: dict[str, str]) -> int:
    if not form.get("Body") and not form.get("MediaUrl") and not form.get("ContentSid"):
        return 21602
    return 21617 if len(form.get("Body", "")) > BODY_LENGTH else 0


def _wrong_wishes(form: dict[str, str]) -> int:
    validity, callback = form.get("ValidityPeriod", "1"), form.get("StatusCallback", "")
    if not re.fullmatch(r"[0-9]{1,9}", validity) or int(validity) not in VALIDITY_SECONDS:
        return 21624
    return 21609 if callback and not _is_callback(callback) else 0


def _is_callback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    # An underscore in the host is what Twilio itself refuses.
    return (
        len(url) <= CALLBACK_LENGTH
        and parts.scheme in {"http", "https"}
        and bool(re.fullmatch(r"[A-Za-z0-9.:-]+", host))
        and not re.search(r"\s", url)
    )


def delivery_of(callback: str) -> str:
    """The delivery that a status callback names by `delivery=…` in its path or query, or an empty string."""
    found = _DELIVERY.search(callback)
    return unquote(found[1]) if found else ""


def resource(letter: Letter, *, fresh: bool = False) -> dict[str, Any]:
    """A message as Twilio shows it.

    Args:
        letter: The message.
        fresh: It was only just taken: a messaging service has not chosen its sender yet, so parts are not counted.
    """
    account, service = letter.headers["AccountSid"], letter.headers.get("MessagingServiceSid")
    at = format_datetime(datetime.fromisoformat(letter.at))
    uri = f"/{VERSION}/Accounts/{account}/Messages/{letter.provider_id}"
    bounced = letter.outcome is Outcome.BOUNCED
    unassigned = fresh and not letter.headers.get("From")
    done = "undelivered" if bounced else "delivered"
    return {
        "account_sid": account,
        "api_version": VERSION,
        "body": letter.text,
        "date_created": at,
        "date_sent": None if fresh else at,
        "date_updated": at,
        "direction": "outbound-api",
        "error_code": 30005 if bounced and not fresh else None,
        "error_message": _SAYS[30005] if bounced and not fresh else None,
        "from": letter.headers.get("From"),
        "messaging_service_sid": service,
        "num_media": "1" if letter.headers.get("MediaUrl") else "0",
        "num_segments": "0" if unassigned else str(letter.segments),
        "price": None,
        "price_unit": "USD",
        "sid": letter.provider_id,
        "status": ("accepted" if unassigned else "queued") if fresh else done,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": letter.to,
        "uri": f"{uri}.json",
    }


def _stopped(req: falcon.asgi.Request, account: str) -> int:
    scheme, _, coded = (req.auth or "").partition(" ")
    try:
        user, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return 20003
    if scheme.casefold() != "basic" or not _USER.fullmatch(user) or not secret or secret.endswith(KEY_REVOKED):
        return 20003
    return 0 if _ACCOUNT.fullmatch(account) else 20404


def _answer(outcome: Outcome, status: int, code: int) -> str:
    if outcome is Outcome.UNANSWERED:
        return ""
    said = f"{status} {HTTPStatus(status).phrase}"
    if outcome is Outcome.BOUNCED:
        return f"{said}, then undelivered with code {code}"
    return said + (f", code {code}" if code else "") + (", Retry-After: 1" if outcome is Outcome.LIMITED else "")


def _refuse(resp: falcon.asgi.Response, code: int) -> None:
    status = _STATUS.get(code, 400)
    more = f"https://www.twilio.com/docs/errors/{code}"
    _answer_with(resp, {"code": code, "message": _SAYS[code], "more_info": more, "status": status}, status=status)


def _answer_with(resp: falcon.asgi.Response, document: dict[str, Any], *, status: int) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(document)
