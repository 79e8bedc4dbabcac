"""Email over any SMTP server: your provider's, your own, or the one on this machine."""

from __future__ import annotations

import re
import smtplib
import ssl
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.letter import Letter, Receipt
from backroom.domain.sender import check_sender

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Conf(BaseModel):
    """An SMTP server, and who the mail is from."""

    model_config = ConfigDict(frozen=True)

    host: str = Field(min_length=1, description="The mail server's name.")
    sender: Annotated[str, AfterValidator(check_sender)] = Field(
        description="Who the mail is from: shop@example.com, or Shop <shop@example.com>."
    )
    port: int = Field(default=587, ge=1, le=65535, description="The mail server's port.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="starttls (port 587), tls from the first byte (port 465), or none: this machine only.",
    )
    username: str = Field(default="", description="User name; empty where the server wants none.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of that user.")
    reply_to: str = Field(default="", description="Where answers go, if not to the sender.")
    timeout_seconds: float = Field(default=15, gt=0, le=120, description="How long each answer of the server may take.")

    @model_validator(mode="after")
    def _keep_the_password_here(self) -> Self:
        if self.security == "none" and self.username and self.host not in LOOPBACK:
            raise ValueError(
                "security none would send the password in clear: starttls or tls, or a server on 127.0.0.1"
            )
        return self

    @classmethod
    def simulated(cls, *, url: str, smtp_port: int) -> Self:
        """Settings that hand every mail to the simulator."""
        host = urlsplit(url).hostname or "127.0.0.1"
        return cls(host=host, port=smtp_port, security="none", sender="Backroom <backroom@example.com>")


# RFC 3463: the address itself is the trouble, for good. 5.1.7 and 5.1.8 are about the sender's.
DEAD_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
SENDER_TROUBLE = frozenset({"5.1.7", "5.1.8"})

GO_AHEAD, TEMPORARY, PERMANENT = 354, 400, 500
LOGIN_WANTED = frozenset({530, 534, 535, 538})

# Nothing that could end the address, or the line it stands in.
_ADDRESS = re.compile(
    r"""(?P<name>[^\s\x00-\x1f\x7f@<>(),:;"\\\[\]]+)@(?P<domain>[^\s\x00-\x1f\x7f@<>(),:;"\\\[\]]+)"""
)
_STATUS = re.compile(rb"(\d\.\d{1,3}\.\d{1,3})(?!\S)")

# What each step's refusal means, in words of ours: a server's own text often repeats the address.
_SAYS = {
    "connect": "the mail server does not take our connection",
    "login": "the mail server does not take our login",
    "sender": "the mail server does not take our sender",
    "recipient": "the mail server does not take this recipient",
    "words": "the mail server does not take this mail",
}


class EmailSmtp:
    """Hands a mail to an SMTP server, over a connection of its own."""

    name: ClassVar[str] = "email_smtp"
    medium: ClassVar[str] = "email"
    contact: ClassVar[str] = "email"
    repeatable: ClassVar[bool] = False

    def __init__(self, conf: Conf) -> None:
        self.conf = conf

    def send(self, letter: Letter) -> Receipt:
        """Hand the mail over.

        Raises:
            Rejected: A 5xx answer to the recipient or the mail; the address is dead where the answer says so.
            Unreachable: A 4xx answer, no connection, or a silence; after the mail was handed over, it may be out.
            Misconfigured: The login, the sender or the server's certificate is not in order.
        """
        mail = self._mail(letter)
        with closing(self._session()) as session:
            self._address(session, letter)
            self._hand_over(session, mail)
            with suppress(smtplib.SMTPException, OSError):
                # It has the mail; how it says goodbye does not matter.
                session.quit()
        return Receipt(provider_id=mail["Message-ID"])

    def _mail(self, letter: Letter) -> EmailMessage:
        found = _ADDRESS.fullmatch(letter.to)
        if not found:
            raise Rejected("this is no mail address", suppress=True)
        mail = EmailMessage(policy=SMTP if letter.to.isascii() else SMTPUTF8)
        mail["To"] = Address(username=found["name"], domain=found["domain"])
        mail["From"] = self.conf.sender
        mail["Subject"] = letter.parts["subject"]
        mail["Date"] = format_datetime(datetime.now(UTC))
        # The same on every try, so that a mail server or a reader's program can tell a second copy from a second mail.
        mail["Message-ID"] = f"<{letter.delivery}@{parseaddr(self.conf.sender)[1].rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Backroom-Delivery"] = letter.delivery
        if self.conf.reply_to:
            mail["Reply-To"] = self.conf.reply_to
        mail.set_content(letter.parts["text"])
        mail.add_alternative(letter.parts["html"], subtype="html")
        return mail

    def _session(self) -> smtplib.SMTP:
        try:
            return self._open()
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured("the mail server's certificate is not in order") from error
        except smtplib.SMTPNotSupportedError as error:
            raise Misconfigured("the mail server offers no STARTTLS, or no login") from error
        except smtplib.SMTPAuthenticationError as error:
            raise _refusal(error.smtp_code, error.smtp_error, "login") from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code, error.smtp_error, "connect") from None
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable("no connection to the mail server") from error

    def _open(self) -> smtplib.SMTP:
        conf = self.conf
        session: smtplib.SMTP
        if conf.security == "tls":
            context = ssl.create_default_context()
            session = smtplib.SMTP_SSL(conf.host, conf.port, timeout=conf.timeout_seconds, context=context)
        else:
            session = smtplib.SMTP(conf.host, conf.port, timeout=conf.timeout_seconds)
        try:
            if conf.security == "starttls":
                session.starttls(context=ssl.create_default_context())
            if conf.username:
                session.login(conf.username, conf.password.get_secret_value())
            session.ehlo_or_helo_if_needed()
        except BaseException:
            session.close()
            raise
        return session

    def _address(self, session: smtplib.SMTP, letter: Letter) -> None:
        options = () if letter.to.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
        if options and not session.has_extn("smtputf8"):
            raise Rejected("the mail server takes no address outside ASCII")
        try:
            _expect(session.mail(parseaddr(self.conf.sender)[1], options), "sender")
            _expect(session.rcpt(letter.to), "recipient")
            code, says = session.docmd("DATA")
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable("the mail server hung up before it took the mail") from error
        if code != GO_AHEAD:
            raise _refusal(code, says, "words")

    def _hand_over(self, session: smtplib.SMTP, mail: EmailMessage) -> None:
        # A line that starts with a dot gets a second one (RFC 5321, 4.5.2): a dot alone is the end.
        body = re.sub(rb"(?m)^\.", b"..", mail.as_bytes())
        try:
            session.send(body + (b".\r\n" if body.endswith(b"\r\n") else b"\r\n.\r\n"))
            answer = session.getreply()
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable("the mail server fell silent after it got the mail", maybe_sent=True) from error
        _expect(answer, "words")


def _expect(answer: tuple[int, bytes], step: str) -> None:
    code, says = answer
    if code >= TEMPORARY or code < 0:
        raise _refusal(code, says, step)


def _refusal(code: int, says: bytes | str, step: str) -> Rejected | Unreachable | Misconfigured:
    found = _STATUS.match(says if isinstance(says, bytes) else says.encode("ascii", "replace"))
    status = found[1].decode() if found else ""
    told = f"{code} {status}".strip()
    if code < PERMANENT:
        return Unreachable(_SAYS[step], code=told)
    if code in LOGIN_WANTED or status in SENDER_TROUBLE or step in {"connect", "login", "sender"}:
        return Misconfigured(_SAYS[step], code=told)
    return Rejected(_SAYS[step], code=told, suppress=step == "recipient" and status in DEAD_ADDRESS)
