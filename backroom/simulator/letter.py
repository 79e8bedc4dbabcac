"""One letter as a carrier got it, with what became of it."""

from __future__ import annotations

import itertools
import re
from enum import StrEnum

import msgspec

TEXT_LIMIT = 1_048_576
HEADER_LIMIT = 8_192
HEADERS_KEPT = 100
ATTACHMENTS_KEPT = 100
ADDRESS_LIMIT = 320
SUBJECT_LIMIT = 998

_SURROGATE = re.compile("[\ud800-\udfff]")


class Outcome(StrEnum):
    """What became of a letter."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"
    REFUSED = "refused"
    LIMITED = "limited"
    FAILED = "failed"
    UNANSWERED = "unanswered"


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an attachment; its bytes are not kept.

    Attributes:
        name: Its file name.
        type: Its media type.
        size: Its size in bytes.
    """

    name: str
    type: str
    size: int


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One letter for one recipient.

    Attributes:
        id: Ours, UUIDv7 as text.
        medium: `email` or `sms`.
        carrier: `sendgrid`, `twilio` or `smtp`.
        provider_id: The id that the carrier gave its client: `X-Message-Id`, `SM…`, or empty.
        at: When it came, RFC 3339 in UTC.
        sender: Who sent it; `from` in JSON.
        to: Its one recipient.
        subject: An email's subject.
        text: Its words.
        html: An email's HTML.
        headers: Its headers; one that came twice has both values, a line each.
        attachments: What hung on it.
        segments: In how many parts an SMS goes out.
        encoding: `GSM-7` or `UCS-2` for an SMS.
        delivery: The delivery it carries, as the sender named it, or empty.
        attempt: Which time this delivery was seen for this recipient; 1 is the first.
        outcome: What became of it.
        answer: What the carrier told its client.
        accepted: Whether the carrier took it. An unanswered letter was taken: only its sender does not know.
    """

    id: str
    medium: str
    carrier: str
    at: str
    to: str
    outcome: Outcome
    answer: str
    accepted: bool
    sender: str = msgspec.field(name="from", default="")
    provider_id: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    headers: dict[str, str] = {}
    attachments: tuple[Attachment, ...] = ()
    segments: int = 0
    encoding: str = ""
    delivery: str = ""
    attempt: int = 1


def trimmed(letter: Letter) -> Letter:
    """The same letter, cut down to what is kept of one."""
    headers = itertools.islice(letter.headers.items(), HEADERS_KEPT)
    return msgspec.structs.replace(
        letter,
        sender=_cut(letter.sender, ADDRESS_LIMIT),
        to=_cut(letter.to, ADDRESS_LIMIT),
        subject=_cut(letter.subject, SUBJECT_LIMIT),
        text=_cut(letter.text, TEXT_LIMIT),
        html=_cut(letter.html, TEXT_LIMIT),
        headers={_cut(name, ADDRESS_LIMIT): _cut(value, HEADER_LIMIT) for name, value in headers},
        attachments=tuple(
            Attachment(name=_cut(each.name, ADDRESS_LIMIT), type=_cut(each.type, ADDRESS_LIMIT), size=each.size)
            for each in letter.attachments[:ATTACHMENTS_KEPT]
        ),
        delivery=_cut(letter.delivery, ADDRESS_LIMIT),
    )


def _cut(text: str, limit: int) -> str:
    # Half of a surrogate pair can come in through JSON or a broken header, and cannot be written as UTF-8.
    return _SURROGATE.sub("\ufffd", text[:limit]).encode()[:limit].decode(errors="ignore")
