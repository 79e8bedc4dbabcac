"""What SendGrid takes as a mail, with the words in which it says what is wrong."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import msgspec

MAIL_LIMIT = 31_457_280
PERSONALIZATIONS = 1_000
RECIPIENTS = 1_000
CUSTOM_ARGS_BYTES = 10_000
CATEGORIES = 10
CATEGORY_LENGTH = 255
POOL_NAME = range(2, 65)
GROUPS_SHOWN = 25
AHEAD_SECONDS = 72 * 3_600
ERRORS_TOLD = 20
RESERVED = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W_][\w-]{0,62}")
_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
_JSON_NAMES = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}


class Address(msgspec.Struct):
    """Somebody."""

    email: str = ""
    name: str | None = None

    def __str__(self) -> str:
        """As in a header."""
        return f"{self.name} <{self.email}>" if self.name else self.email


class Personalization(msgspec.Struct):
    """One envelope."""

    to: list[Address] = []
    cc: list[Address] = []
    bcc: list[Address] = []
    sender: Address | None = msgspec.field(name="from", default=None)
    subject: str = ""
    headers: dict[str, str] = {}
    custom_args: dict[str, str] = {}
    send_at: int | None = None

    @property
    def recipients(self) -> list[Address]:
        """Everybody whom it goes to."""
        return [*self.to, *self.cc, *self.bcc]


class Content(msgspec.Struct):
    """The words in one media type."""

    type: str = ""
    value: str = ""


class Hanging(msgspec.Struct):
    """An attachment, base64."""

    content: str = ""
    filename: str = ""
    type: str = "application/octet-stream"


class Unsubscribe(msgspec.Struct):
    """An unsubscribe group."""

    group_id: int | None = None
    groups_to_display: list[int] = []


class Switch(msgspec.Struct):
    """On or off."""

    enable: bool = False


class MailSettings(msgspec.Struct):
    """How to treat the mail."""

    sandbox_mode: Switch = msgspec.field(default_factory=Switch)


class Mail(msgspec.Struct):
    """The body of `POST /v3/mail/send`."""

    personalizations: list[Personalization] = []
    sender: Address | None = msgspec.field(name="from", default=None)
    reply_to: Address | None = None
    reply_to_list: list[Address] = []
    subject: str = ""
    content: list[Content] = []
    attachments: list[Hanging] = []
    template_id: str = ""
    headers: dict[str, str] = {}
    categories: list[str] = []
    custom_args: dict[str, str] = {}
    send_at: int | None = None
    asm: Unsubscribe | None = None
    ip_pool_name: str | None = None
    mail_settings: MailSettings = msgspec.field(default_factory=MailSettings)

    def words(self, media_type: str) -> str:
        """The content of one media type, or an empty string."""
        return next((each.value for each in self.content if each.type.partition(";")[0] == media_type), "")


class Error(msgspec.Struct, frozen=True):
    """One thing that is wrong, as SendGrid says it."""

    message: str
    field: str | None = None
    help: str | None = None


def read_mail(body: bytes, *, now: float) -> Mail | list[Error]:
    """The mail in a request body, or what is wrong with it.

    Args:
        body: JSON.
        now: Seconds since 1970, to judge `send_at`.
    """
    try:
        raw = msgspec.json.decode(body)
    # msgspec lets Python's own error through for a string that is not UTF-8.
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [Error("Bad Request")]
    try:
        mail = msgspec.convert(raw, Mail)
    except msgspec.ValidationError as error:
        return [_type_error(str(error))]
    return list(itertools.islice(_wrong(mail, now=now), ERRORS_TOLD)) or mail


def _wrong(mail: Mail, *, now: float) -> Iterator[Error]:
    yield from _wrong_recipients(mail)
    if mail.sender is None or not mail.sender.email:
        yield _error(
            "The from object must be provided for every email send. It is an object that requires the email "
            "parameter, but may also contain a name parameter.",
            "from.email",
            "from",
        )
    else:
        yield from _wrong_address(mail.sender, "from.email", "from")
    if mail.reply_to and mail.reply_to_list:
        yield _error("The reply_to and reply_to_list parameters exclude each other.", "reply_to_list", "reply_to_list")
    for place, address in enumerate([mail.reply_to] if mail.reply_to else mail.reply_to_list):
        field = "reply_to.email" if mail.reply_to else f"reply_to_list.{place}.email"
        yield from _wrong_address(address, field, "reply_to")
    yield from _wrong_words(mail)
    yield from _wrong_headers(mail.headers, "headers")
    yield from _wrong_extras(mail, now=now)


def _wrong_recipients(mail: Mail) -> Iterator[Error]:
    if not mail.personalizations:
        yield _error(
            "The personalizations field is required and must have at least one personalization.", "personalizations"
        )
    if len(mail.personalizations) > PERSONALIZATIONS:
        yield _error(
            f"The personalization block is limited to {PERSONALIZATIONS} personalizations per API request. You have "
            f"provided {len(mail.personalizations)} personalizations. Please consider splitting this into multiple "
            "requests and resending your request.",
            "personalizations",
        )
        return
    if sum(len(each.recipients) for each in mail.personalizations) > RECIPIENTS:
        yield _error(
            f"There is a limit of {RECIPIENTS} total recipients (to + cc + bcc) per request.", "personalizations"
        )
    for place, each in enumerate(mail.personalizations):
        yield from _wrong_personalization(each, f"personalizations.{place}", common=mail.custom_args)


def _wrong_personalization(each: Personalization, field: str, *, common: dict[str, str]) -> Iterator[Error]:
    if not each.to:
        yield _error(
            "The to array is required for all personalization objects, and must have at least one email object with a "
            "valid email address.",
            f"{field}.to",
            "personalizations.to",
        )
    met: set[str] = set()
    for kind, addresses in (("to", each.to), ("cc", each.cc), ("bcc", each.bcc)):
        for place, address in enumerate(addresses):
            yield from _wrong_address(address, f"{field}.{kind}.{place}.email", f"personalizations.{kind}")
            if address.email.casefold() in met:
                yield _error(
                    "Each email address in the personalization block should be unique between to, cc, and bcc. We "
                    f"found the first duplicate instance of [{address.email}] in the {field}.{kind} field.",
                    field,
                )
            met.add(address.email.casefold())
    yield from _wrong_headers(each.headers, f"{field}.headers")
    if len(msgspec.json.encode({**common, **each.custom_args})) > CUSTOM_ARGS_BYTES:
        yield _error(
            f"The combined total of custom_args may not exceed {CUSTOM_ARGS_BYTES} bytes.",
            f"{field}.custom_args",
            "personalizations.custom_args",
        )


def _wrong_address(address: Address, field: str, anchor: str) -> Iterator[Error]:
    if not _ADDRESS.fullmatch(address.email):
        yield _error("Does not contain a valid address.", field, anchor)


def _wrong_words(mail: Mail) -> Iterator[Error]:
    if mail.template_id:
        return
    if not mail.subject and not all(each.subject for each in mail.personalizations):
        yield _error(
            "The subject is required. You can get around this requirement if you use a template with a subject defined "
            "or if every personalization has a subject defined.",
            "subject",
        )
    if not mail.content:
        yield _error(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one "
            "defined content block. We typically suggest both text/plain and text/html blocks are included, but only "
            "one block is required.",
            "content",
        )
    for place, content in enumerate(mail.content):
        if not content.value:
            yield _error(
                "The content value must be a string at least one character in length.",
                f"content.{place}.value",
                "content.value",
            )
        if "/" not in content.type:
            yield _error("The content type must be a media type.", f"content.{place}.type", "content.type")
    kinds = [content.type for content in mail.content]
    if "text/plain" in kinds[1:]:
        yield _error(
            "If present, text/plain and text/html may only be provided once, text/plain first, followed by text/html, "
            "followed by any other content.",
            "content",
        )


def _wrong_headers(headers: dict[str, str], field: str) -> Iterator[Error]:
    for name, value in headers.items():
        if name.casefold() in RESERVED:
            yield _error(f"The header {name} is reserved and may not be set.", f"{field}.{name}", "headers")
        if not re.fullmatch(r"[!-9;-~]+", name) or re.search(r"[\r\n]", value):
            yield _error("Headers must be plain names with values on one line.", field, "headers")


def _wrong_extras(mail: Mail, *, now: float) -> Iterator[Error]:
    if len(mail.categories) > CATEGORIES:
        yield _error(f"There is a limit of {CATEGORIES} categories per request.", "categories")
    if len(set(mail.categories)) != len(mail.categories):
        yield _error("Each category should only be listed once.", "categories")
    for place, category in enumerate(mail.categories):
        if len(category) > CATEGORY_LENGTH:
            yield _error(
                f"Category names may not exceed {CATEGORY_LENGTH} characters.", f"categories.{place}", "categories"
            )
    times = [("send_at", mail.send_at)]
    times += [(f"personalizations.{place}.send_at", each.send_at) for place, each in enumerate(mail.personalizations)]
    for field, at in times:
        if at is not None and at > now + AHEAD_SECONDS:
            yield _error("Scheduling more than 72 hours in advance is forbidden.", field, "send_at")
    if mail.asm and mail.asm.group_id is None:
        yield _error("The asm.group_id parameter is required when asm is used.", "asm.group_id", "asm")
    if mail.asm and len(mail.asm.groups_to_display) > GROUPS_SHOWN:
        yield _error(f"At most {GROUPS_SHOWN} groups may be displayed.", "asm.groups_to_display", "asm")
    if mail.ip_pool_name is not None and len(mail.ip_pool_name) not in POOL_NAME:
        yield _error("The ip_pool_name must have between 2 and 64 characters.", "ip_pool_name")


def _error(message: str, field: str, anchor: str = "") -> Error:
    return Error(message, field, _HELP + (anchor or field.partition(".")[0]))


def _type_error(said: str) -> Error:
    # msgspec: Expected `str`, got `int` - at `$.personalizations[0].subject`
    what, _, path = said.partition(" - at `")
    field = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`").replace("[...]", "")).removeprefix("$").removeprefix(".")
    match re.findall(r"`([^`]+)`", what):
        case [expected, given]:
            expected = _JSON_NAMES.get(expected.split(" ")[0], expected)
            what = f"Invalid type. Expected: {expected}, given: {_JSON_NAMES.get(given, given)}."
    return Error(what, field or None, _HELP + field.partition(".")[0] if field else None)


def custom_args(mail: Mail, envelope: Personalization) -> dict[str, Any]:
    """The custom arguments of one envelope; its own win over the mail's."""
    return {**mail.custom_args, **envelope.custom_args}
