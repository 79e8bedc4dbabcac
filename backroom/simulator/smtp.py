"""An SMTP server that takes mail for anybody."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage
from socket import socket as Socket  # noqa: N812 - a type, and `socket` is the argument

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from backroom.simulator.desk import Desk, loudest
from backroom.simulator.letter import Attachment, Letter, Outcome
from backroom.simulator.magic import KEY_REVOKED, of_address

SIZE_LIMIT = 31_457_280
RECIPIENTS = 1_000
IDLE_SECONDS = 120
DELIVERY_HEADER = "X-Backroom-Delivery"
_DELIVERY = DELIVERY_HEADER.casefold()

_ANSWERS = {
    Outcome.REFUSED: "554 5.7.1 Refused by the simulator's magic address",
    Outcome.FAILED: "451 4.3.0 Local error in processing",
    Outcome.LIMITED: "451 4.7.1 Too many messages, try again later",
    Outcome.UNANSWERED: "451 4.3.0 Nothing was meant to be said",
}
_BOUNCES = "550 5.1.1 No such user here"
_TAKEN = "250 2.0.0 Taken"


class Mailroom:
    """Answers the commands of one server; `aiosmtpd` calls it by these names."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and arguments
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or bounce one whose address is magic."""
        if len(envelope.rcpt_tos) >= RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        if of_address(address, seen=0).outcome is Outcome.BOUNCED:
            self._keep(EmailMessage(), envelope, to=address, outcome=Outcome.BOUNCED, answer=_BOUNCES)
            return _BOUNCES
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Take a message, a letter for each of its recipients."""
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content or "").encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        delivery = _headers(message).get(DELIVERY_HEADER, "")
        behaviours = {to: of_address(to, seen=self._desk.box.seen(delivery, to)) for to in envelope.rcpt_tos}
        forced = loudest(behaviours.values())
        answer = _ANSWERS[forced] if forced else _TAKEN
        for to, behaviour in behaviours.items():
            told = "" if forced is Outcome.UNANSWERED else answer
            self._keep(message, envelope, to=to, outcome=forced or behaviour.outcome, answer=told)
        if forced is Outcome.UNANSWERED:
            await self._desk.say_nothing()
        return answer

    def _keep(self, message: EmailMessage, envelope: Envelope, *, to: str, outcome: Outcome, answer: str) -> None:
        headers = _headers(message)
        self._desk.keep(
            Letter(
                id=self._desk.new_id(),
                medium="email",
                carrier="smtp",
                at=self._desk.stamp(),
                sender=headers.get("From", "") or str(envelope.mail_from or ""),
                to=to,
                subject=headers.get("Subject", ""),
                text=_words(message, "plain"),
                html=_words(message, "html"),
                headers=headers,
                attachments=tuple(_attachments(message)),
                delivery=headers.get(DELIVERY_HEADER, "").strip(),
                outcome=outcome,
                answer=answer,
                accepted=outcome in {Outcome.DELIVERED, Outcome.UNANSWERED},
            )
        )


async def listen(desk: Desk, *, socket: Socket) -> asyncio.Server:
    """Start the server on a listening socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _server(desk, loop), sock=socket)


def _server(desk: Desk, loop: asyncio.AbstractEventLoop) -> SMTP:
    return SMTP(
        Mailroom(desk),
        loop=loop,
        data_size_limit=SIZE_LIMIT,
        enable_SMTPUTF8=True,
        hostname="simulator.localhost",
        ident="Backroom simulator",
        timeout=IDLE_SECONDS,
        auth_require_tls=False,
        authenticator=_authenticate,
    )


def _authenticate(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
) -> AuthResult:
    wrong = bytes(login.password).endswith(KEY_REVOKED.encode())
    return AuthResult(success=not wrong, handled=False)


def _headers(message: EmailMessage) -> dict[str, str]:
    headers: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for name, raw in message.raw_items():
        # Names are compared without case; the first spelling stays.
        known = spelled.setdefault(name.casefold(), DELIVERY_HEADER if name.casefold() == _DELIVERY else name)
        value = _decoded(str(raw))
        headers[known] = f"{headers[known]}\n{value}" if known in headers else value
    return headers


def _decoded(raw: str) -> str:
    unfolded = " ".join(line.strip() for line in raw.splitlines())
    try:
        return str(make_header(decode_header(unfolded)))
    except (HeaderParseError, LookupError, ValueError):
        return unfolded


def _words(message: EmailMessage, kind: str) -> str:
    try:
        part = message.get_body((kind,))
    except (MessageError, LookupError, ValueError, AttributeError):
        # The standard library stumbles over some broken structures; such a letter is kept with its headers only.
        return ""
    if part is None or part.is_multipart():
        return ""
    raw = part.get_payload(decode=True)
    body = raw if isinstance(raw, bytes) else b""
    try:
        return body.decode(part.get_content_charset("utf-8"), errors="replace")
    except LookupError:
        return body.decode(errors="replace")


def _attachments(message: EmailMessage) -> list[Attachment]:
    found = []
    for part in message.walk():
        if part.is_multipart() or not part.get_filename():
            continue
        raw = part.get_payload(decode=True)
        size = len(raw) if isinstance(raw, bytes) else 0
        found.append(Attachment(name=str(part.get_filename()), type=part.get_content_type(), size=size))
    return found
