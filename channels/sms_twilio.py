"""SMS through Twilio."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.letter import Letter, Receipt
from backroom.domain.retry_after import asked_wait

if TYPE_CHECKING:
    from twilio.base.exceptions import TwilioRestException
    from twilio.rest import Client


class Conf(BaseModel):
    """A Twilio account, and the number or messaging service that it sends from."""

    model_config = ConfigDict(frozen=True)

    account_sid: str = Field(pattern="^AC[0-9a-fA-F]{32}$", description="The account's SID; it starts with AC.")
    auth_token: SecretStr = Field(description="The account's auth token.")
    sender: str = Field(
        default="", max_length=20, description="A number of yours in E.164, a short code or an alphanumeric name."
    )
    messaging_service_sid: str = Field(
        default="",
        pattern="^(MG[0-9a-fA-F]{32})?$",
        description="A messaging service instead of a sender; it starts with MG.",
    )
    public_url: str = Field(
        default="",
        pattern="^(https?://.+)?$",
        description="Where Twilio is to report to, at /v1/reports/twilio below it. Our front door takes no reports "
        "yet: leave it empty, or name a server of yours.",
    )
    most_parts: int = Field(default=6, ge=1, le=10, description="How many parts an SMS may have; each is paid for.")
    timeout_seconds: float = Field(default=15, gt=0, le=120, description="How long Twilio may take to answer.")
    base_url: str = Field(
        default="",
        pattern="^(https?://.+)?$",
        description="Instead of https://api.twilio.com, such as a simulator's address.",
    )

    @model_validator(mode="after")
    def _one_sender(self) -> Self:
        if bool(self.sender) == bool(self.messaging_service_sid):
            raise ValueError("set exactly one of SMS_TWILIO_SENDER and SMS_TWILIO_MESSAGING_SERVICE_SID")
        return self

    @classmethod
    def simulated(cls, *, url: str, smtp_port: int) -> Self:  # noqa: ARG003 - every carrier is asked alike
        """Settings that send every SMS to the simulator, which finds the delivery's id in the report address."""
        return cls(
            account_sid=f"AC{0:032x}",
            auth_token=SecretStr("simulated"),
            sender="+15005550006",
            base_url=url.rstrip("/"),
            public_url=url.rstrip("/"),
        )


LONGEST = 1600

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_ERROR, GATEWAY_TIMEOUT = 401, 403, 404, 429, 500, 504

# Twilio splits its codes from time to time, so this table stays small; the HTTP status decides about any other.
DEAD_NUMBER = {
    21211: "Twilio says that this is no phone number",
    21217: "Twilio says that this is no phone number",
    21604: "Twilio says that this is no phone number",
    21610: "the reader has opted out",
    21614: "this is not a mobile number",
    30005: "there is no such handset",
    30006: "this is a landline, or its carrier cannot be reached",
}
REFUSED = {
    21408: "sending to this region is not enabled",
    21602: "the text is empty",
    21608: "a trial account writes to verified numbers only",
    21612: "there is no way from our sender to this number",
    21617: "the text is too long",
    30007: "the text was filtered",
}
ACCOUNT = {
    20003: "Twilio does not take our login",
    21606: "our sender cannot send SMS",
    30002: "our account is suspended",
    30024: "our sender is not registered",
    30034: "our sender is not registered",
}
AGAIN = {
    20429: "Twilio asks us to slow down",
    30001: "Twilio's queue is full",
    30022: "Twilio asks us to slow down",
    30500: "Twilio is in trouble",
}


class SmsTwilio:
    """Hands a text to Twilio's `Messages.json`."""

    name: ClassVar[str] = "sms_twilio"
    medium: ClassVar[str] = "sms"
    contact: ClassVar[str] = "phone"
    repeatable: ClassVar[bool] = False

    def __init__(self, conf: Conf) -> None:
        self.conf = conf
        # The SDK's session is not promised to be safe in two threads at once.
        self._own = threading.local()

    def send(self, letter: Letter) -> Receipt:
        """Hand the text over.

        Raises:
            Rejected: The number or the text will never do; the number is dead where the code says so.
            Unreachable: 429 (after the time it names), 5xx, no connection, or a silence: then the SMS may be out.
            Misconfigured: The account or its sender is not in order.
        """
        to, text = _number(letter.to), self._text(letter)
        client, answers = self._client()
        from requests.exceptions import RequestException  # noqa: PLC0415 - the SDK loads where it is used
        from twilio.base.exceptions import TwilioException, TwilioRestException  # noqa: PLC0415

        try:
            message = client.messages.create(to=to, body=text, **self._from(letter))
        except TwilioRestException as error:
            # Not chained: Twilio's own text often repeats the number.
            raise _refusal(error, answers.headers) from None
        except RequestException as error:
            raise _silence(error) from error
        except (TwilioException, ValueError, LookupError, AttributeError, TypeError) as error:
            raise Unreachable("Twilio's answer cannot be read", maybe_sent=True) from error
        if message.status in {"failed", "undelivered"}:
            raise _by_code(int(message.error_code or 0), fallback="Twilio could not send it")
        return Receipt(provider_id=message.sid or letter.delivery)

    def _text(self, letter: Letter) -> str:
        import smsutil  # noqa: PLC0415 - like the SDK, only where it is used

        text = letter.parts["text"]
        if len(text) > LONGEST:
            raise Rejected(REFUSED[21617], code="21617")
        parts = len(smsutil.split(text).parts)
        if parts > self.conf.most_parts:
            raise Rejected(f"the text has {parts} parts; {self.conf.most_parts} are allowed")
        return text

    def _from(self, letter: Letter) -> dict[str, Any]:
        service = self.conf.messaging_service_sid
        fields = {"messaging_service_sid": service} if service else {"from_": self.conf.sender}
        if self.conf.public_url:
            query = urlencode({"delivery": letter.delivery})
            fields["status_callback"] = f"{self.conf.public_url.rstrip('/')}/v1/reports/twilio?{query}"
        return fields

    def _client(self) -> tuple[Client, Answers]:
        if not hasattr(self._own, "client"):
            from twilio.rest import Client  # noqa: PLC0415 - only a worker with this carrier pays for it

            self._own.answers = Answers(self.conf)
            self._own.client = Client(
                self.conf.account_sid,
                self.conf.auth_token.get_secret_value(),
                http_client=self._own.answers,
                # Or else the SDK reads the process's own environment.
                environment={"TWILIO_EDGE": "", "TWILIO_REGION": ""},
            )
        return self._own.client, self._own.answers


class Answers:
    """The SDK's way to the network, sending to another address where one is set.

    Attributes:
        headers: Those of the last answer, which the SDK keeps to itself.
    """

    def __init__(self, conf: Conf) -> None:
        from twilio.http.http_client import TwilioHttpClient  # noqa: PLC0415 - the SDK loads where it is used

        # At its info level the SDK logs every request.
        logger = logging.getLogger(f"{__name__}.sdk")
        logger.setLevel(logging.WARNING)
        self._network = TwilioHttpClient(timeout=conf.timeout_seconds, logger=logger)
        self._base_url = conf.base_url
        self.headers: dict[str, str] = {}

    def request(self, method: str, url: str, **how: Any) -> Any:
        """Ask Twilio."""
        self.headers = {}
        answer = self._network.request(method, _moved(url, self._base_url), **how)
        self.headers = dict(answer.headers or {})
        return answer


def _moved(url: str, base_url: str) -> str:
    if not base_url:
        return url
    base, wanted = urlsplit(base_url), urlsplit(url)
    return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + wanted.path, wanted.query, ""))


def _number(to: str) -> str:
    import phonenumbers  # noqa: PLC0415 - large tables, only where they are used

    try:
        number = phonenumbers.parse(to, None)
    except phonenumbers.NumberParseException:
        number = None
    # Possible, not valid: new ranges open faster than tables are updated, and the carrier knows better.
    if number is None or not phonenumbers.is_possible_number(number):
        raise Rejected("this is no phone number in E.164", suppress=True)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _refusal(error: TwilioRestException, headers: dict[str, str]) -> Rejected | Unreachable | Misconfigured:
    status, code = error.status, int(error.code or 0)
    told = str(code or status)
    if status == TOO_MANY:
        return Unreachable(AGAIN[20429], code=told, after=asked_wait(headers, now=datetime.now(UTC)))
    if status >= SERVER_ERROR:
        return Unreachable("Twilio is in trouble", code=told, maybe_sent=status == GATEWAY_TIMEOUT)
    if status == UNAUTHORIZED or (status in {FORBIDDEN, NOT_FOUND} and code not in DEAD_NUMBER | REFUSED):
        return Misconfigured(ACCOUNT.get(code, f"Twilio refuses our account with HTTP {status}"), code=told)
    return _by_code(code, fallback=f"Twilio refuses this SMS with HTTP {status}", told=told)


def _by_code(code: int, *, fallback: str, told: str = "") -> Rejected | Unreachable | Misconfigured:
    told = told or str(code or "")
    if code in AGAIN:
        return Unreachable(AGAIN[code], code=told)
    if code in ACCOUNT:
        return Misconfigured(ACCOUNT[code], code=told)
    if code in DEAD_NUMBER:
        return Rejected(DEAD_NUMBER[code], code=told, suppress=True)
    return Rejected(REFUSED.get(code, fallback), code=told)


def _silence(error: Exception) -> Unreachable | Misconfigured:
    from requests.exceptions import ConnectTimeout, ProxyError, SSLError  # noqa: PLC0415 - the SDK loads where it is used
    from urllib3.exceptions import NewConnectionError  # noqa: PLC0415

    # Any other trouble with TLS may be a line that broke, before or after the SMS went over it.
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Misconfigured("Twilio's certificate cannot be trusted")
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, ConnectTimeout | ProxyError) or isinstance(reason, NewConnectionError):
        return Unreachable("no connection to Twilio")
    return Unreachable("Twilio fell silent after it got the SMS", maybe_sent=True)
