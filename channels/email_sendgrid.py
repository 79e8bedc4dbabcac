"""Email through SendGrid."""

from __future__ import annotations

import http.client
import json
import logging
import re
import urllib.error
from datetime import UTC, datetime
from email.utils import parseaddr
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.letter import Letter, Receipt
from backroom.domain.retry_after import asked_wait
from backroom.domain.sender import check_sender

if TYPE_CHECKING:
    from sendgrid import SendGridAPIClient


class Conf(BaseModel):
    """A SendGrid account."""

    model_config = ConfigDict(frozen=True)

    api_key: SecretStr = Field(description="An API key with the permission Mail Send.")
    sender: Annotated[str, AfterValidator(check_sender)] = Field(
        description="Who the mail is from, verified at SendGrid: Shop <shop@example.com>."
    )
    reply_to: str = Field(default="", description="Where answers go, if not to the sender.")
    host: str = Field(
        default="https://api.sendgrid.com",
        pattern="^https?://",
        description="https://api.eu.sendgrid.com for an EU account.",
    )
    timeout_seconds: float = Field(default=15, gt=0, le=120, description="How long SendGrid may take to answer.")

    @classmethod
    def simulated(cls, *, url: str, smtp_port: int) -> Self:  # noqa: ARG003 - every carrier is asked alike
        """Settings that send every mail to the simulator."""
        return cls(api_key=SecretStr("SG.simulated"), sender="Backroom <backroom@example.com>", host=url.rstrip("/"))


TOO_MANY, SERVER_ERROR, GATEWAY_TIMEOUT = 429, 500, 504

# What a status says about us, and what it says about the mail.
ACCOUNT = {
    401: "SendGrid does not take our key",
    403: "SendGrid does not allow this key to send, or not from this sender",
    404: "there is no SendGrid at this host",
    405: "there is no SendGrid at this host",
}
REFUSED = {400: "SendGrid finds this mail malformed", 413: "this mail is too large for SendGrid"}

_ADDRESS_FIELD = re.compile(r"personalizations\.\d+\.to\b")
_SENDER_FIELD = re.compile(r"(from|reply_to)\b")


class EmailSendgrid:
    """Hands a mail to SendGrid's `v3/mail/send`."""

    name: ClassVar[str] = "email_sendgrid"
    medium: ClassVar[str] = "email"
    contact: ClassVar[str] = "email"
    repeatable: ClassVar[bool] = False

    def __init__(self, conf: Conf) -> None:
        self.conf = conf

    def send(self, letter: Letter) -> Receipt:
        """Hand the mail over.

        Raises:
            Rejected: SendGrid will never take this mail; the address is dead where the answer points at it.
            Unreachable: 429 (after the time it names), 5xx, no connection, or a silence: then the mail may be out.
            Misconfigured: The key, its permissions or the sender is not in order.
        """
        from python_http_client.exceptions import HTTPError  # noqa: PLC0415 - the SDK loads where it is used

        try:
            answer = self._client.client.mail.send.post(request_body=self._mail(letter))
        except HTTPError as error:
            # Not chained: SendGrid's own text often repeats the address.
            raise _refusal(error.status_code, error.body, dict((error.headers or {}).items())) from None
        except urllib.error.URLError as error:
            # Only what fails before the whole request was written arrives in this wrapping.
            raise Unreachable("no connection to SendGrid") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable("SendGrid fell silent after it got the mail", maybe_sent=True) from error
        # 200 is the answer of an account in sandbox mode.
        return Receipt(provider_id=answer.headers.get("X-Message-Id") or letter.delivery)

    @cached_property
    def _client(self) -> SendGridAPIClient:
        from sendgrid import SendGridAPIClient  # noqa: PLC0415 - only a worker with this carrier pays for it

        # At its debug level the SDK logs whole mails, and the key.
        logging.getLogger("python_http_client").setLevel(logging.WARNING)
        client = SendGridAPIClient(self.conf.api_key.get_secret_value(), host=self.conf.host)
        # The SDK's own default is to wait for ever.
        client.client.timeout = self.conf.timeout_seconds
        return client

    def _mail(self, letter: Letter) -> dict[str, Any]:
        name, address = parseaddr(self.conf.sender)
        mail: dict[str, Any] = {
            "personalizations": [
                {
                    "to": [{"email": letter.to}],
                    # Comes back in every event. Nothing of the reader's may stand here.
                    "custom_args": {"delivery_id": letter.delivery, "attempt": str(letter.attempt)},
                }
            ],
            "from": {"email": address, "name": name} if name else {"email": address},
            "subject": letter.parts["subject"],
            "content": [
                {"type": "text/plain", "value": letter.parts["text"]},
                {"type": "text/html", "value": letter.parts["html"]},
            ],
            "headers": {"Auto-Submitted": "auto-generated", "X-Backroom-Delivery": letter.delivery},
            # A code or a sign-in link must never go through somebody else's redirect.
            "tracking_settings": {
                "click_tracking": {"enable": False, "enable_text": False},
                "open_tracking": {"enable": False},
                "subscription_tracking": {"enable": False},
            },
        }
        if self.conf.reply_to:
            mail["reply_to"] = {"email": self.conf.reply_to}
        return mail


def _refusal(status: int, body: bytes, headers: dict[str, str]) -> Rejected | Unreachable | Misconfigured:
    code = str(status)
    if status == TOO_MANY:
        return Unreachable("SendGrid asks us to slow down", code=code, after=asked_wait(headers, now=datetime.now(UTC)))
    if status >= SERVER_ERROR:
        return Unreachable("SendGrid is in trouble", code=code, maybe_sent=status == GATEWAY_TIMEOUT)
    fields = _fields(body)
    if status in ACCOUNT:
        return Misconfigured(ACCOUNT[status], code=code)
    if any(map(_SENDER_FIELD.match, fields)):
        return Misconfigured("SendGrid does not take our sender", code=code)
    if any(map(_ADDRESS_FIELD.match, fields)):
        return Rejected("SendGrid says that this is no mail address", code=code, suppress=True)
    return Rejected(REFUSED.get(status, f"SendGrid refuses this mail with HTTP {code}"), code=code)


def _fields(body: bytes) -> list[str]:
    # Which fields SendGrid complains of; its sentences are left alone.
    try:
        errors = json.loads(body)["errors"]
        return [str(error.get("field") or "") for error in errors]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
