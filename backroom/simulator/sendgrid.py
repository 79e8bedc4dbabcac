"""SendGrid's `POST /v3/mail/send`."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

import falcon
import falcon.asgi
import msgspec

from backroom.simulator.desk import Desk, body_of, loudest
from backroom.simulator.letter import Attachment, Letter, Outcome
from backroom.simulator.magic import KEY_REVOKED, KEY_WITHOUT_SCOPE, of_address
from backroom.simulator.sendgrid_mail import MAIL_LIMIT, Address, Error, Mail, Personalization, custom_args, read_mail

_ANSWERS = {
    Outcome.REFUSED: (400, "The recipient is refused by the simulator's magic address."),
    Outcome.FAILED: (500, "internal server error"),
    Outcome.LIMITED: (429, "too many requests"),
}


class MailSend:
    """The one resource that sends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Judge a mail, keep its letters and answer as SendGrid does."""
        if refusal := _unauthorized(req):
            return _say(resp, *refusal)
        body = await body_of(req, limit=MAIL_LIMIT)
        if body is None:
            return _say(resp, 413, [Error("The JSON payload you have included in your request is too large.")])
        if not (req.content_type or "").startswith("application/json"):
            return _say(resp, 415, [Error("Content-Type should be application/json.", "Content-Type")])
        mail = read_mail(body, now=self._desk.now().timestamp())
        if isinstance(mail, list):
            return _say(resp, 400, mail)
        if mail.mail_settings.sandbox_mode.enable:
            resp.status = falcon.HTTP_200
            return None
        return await self._take(mail, resp)

    async def _take(self, mail: Mail, resp: falcon.asgi.Response) -> None:
        message = secrets.token_urlsafe(16)
        posts = [(envelope, address) for envelope in mail.personalizations for address in envelope.recipients]
        behaviours = [
            of_address(address.email, seen=self._desk.box.seen(_delivery(mail, envelope), address.email))
            for envelope, address in posts
        ]
        forced = loudest(behaviours)
        status, says = _ANSWERS.get(forced, (202, "")) if forced else (202, "")
        for (envelope, address), behaviour in zip(posts, behaviours, strict=True):
            outcome = forced or behaviour.outcome
            self._desk.keep(self._letter(mail, envelope, address, message=message, outcome=outcome, status=status))
        if forced is Outcome.UNANSWERED:
            await self._desk.say_nothing()
            return _say(resp, 504, [Error("nothing was meant to be said")])
        if says:
            if forced is Outcome.LIMITED:
                _tell_limit(resp, reset=int(self._desk.now().timestamp()) + 1)
            return _say(resp, status, [Error(says)])
        resp.status = falcon.HTTP_202
        resp.set_header("X-Message-Id", message)
        return None

    def _letter(
        self,
        mail: Mail,
        envelope: Personalization,
        address: Address,
        *,
        message: str,
        outcome: Outcome,
        status: int,
    ) -> Letter:
        accepted = status == 202  # noqa: PLR2004 - what SendGrid says when it took a mail
        subject = envelope.subject or mail.subject or f"(template {mail.template_id})"
        return Letter(
            id=self._desk.new_id(),
            medium="email",
            carrier="sendgrid",
            provider_id=message if accepted else "",
            at=self._desk.stamp(),
            sender=str(envelope.sender or mail.sender or ""),
            to=address.email,
            subject=subject,
            text=mail.words("text/plain"),
            html=mail.words("text/html"),
            headers=_headers(mail, envelope, subject=subject),
            attachments=tuple(
                Attachment(name=each.filename, type=each.type, size=len(each.content) * 3 // 4)
                for each in mail.attachments
            ),
            delivery=_delivery(mail, envelope),
            outcome=outcome,
            answer=_answer(outcome, status),
            accepted=accepted,
        )


def _unauthorized(req: falcon.asgi.Request) -> tuple[int, list[Error]] | None:
    scheme, _, key = (req.auth or "").partition(" ")
    if scheme.casefold() != "bearer" or not key.strip():
        return 401, [Error("Permission denied, wrong credentials")]
    if key.strip().endswith(KEY_REVOKED):
        return 401, [Error("The provided authorization grant is invalid, expired, or revoked")]
    if key.strip().endswith(KEY_WITHOUT_SCOPE):
        return 403, [Error("access forbidden")]
    return None


def _delivery(mail: Mail, envelope: Personalization) -> str:
    return str(custom_args(mail, envelope).get("delivery_id", ""))


def _headers(mail: Mail, envelope: Personalization, *, subject: str) -> dict[str, str]:
    # Bcc is left out: that it cannot be read is its point.
    named: dict[str, Any] = {
        "From": envelope.sender or mail.sender,
        "To": ", ".join(map(str, envelope.to)),
        "Cc": ", ".join(map(str, envelope.cc)),
        "Reply-To": mail.reply_to or ", ".join(map(str, mail.reply_to_list)),
        "Subject": subject,
        **mail.headers,
        **envelope.headers,
        "categories": ", ".join(mail.categories),
        "custom_args": msgspec.json.encode(custom_args(mail, envelope)).decode().replace("{}", ""),
    }
    return {name: str(value) for name, value in named.items() if value}


def _answer(outcome: Outcome, status: int) -> str:
    if outcome is Outcome.UNANSWERED:
        return ""
    said = f"{status} {HTTPStatus(status).phrase}"
    return f"{said}, Retry-After: 1" if outcome is Outcome.LIMITED else said


def _tell_limit(resp: falcon.asgi.Response, *, reset: int) -> None:
    resp.set_header("X-RateLimit-Limit", "1")
    resp.set_header("X-RateLimit-Remaining", "0")
    resp.set_header("X-RateLimit-Reset", str(reset))
    resp.set_header("Retry-After", "1")


def _say(resp: falcon.asgi.Response, status: int, errors: list[Error]) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode({"errors": errors})
