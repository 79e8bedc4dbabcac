"""What a mail server's answers mean, step by step."""

from __future__ import annotations

import email
import email.policy
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.letter import Letter
from channels.email_smtp import Conf, EmailSmtp

LETTER = Letter(
    delivery="d-1",
    app="a-1",
    user="u-1",
    type="order_shipped",
    to="ada@example.com",
    locale="de",
    parts={"subject": "Grüße", "text": "Zeile\n.\n..Punkt", "html": "<p>Grüße</p>"},
)


USUAL = {
    "CONNECT": "220 mail.example ESMTP",
    "EHLO": "250-mail.example\r\n250-AUTH PLAIN\r\n250 SIZE",
    "DATA": "354 go",
    "END": "250 2.0.0 taken",
    "QUIT": "221 bye",
}


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server on loopback that says what it is told to say, and keeps the mail it gets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.says: dict[str, str] = {}
        self.mails: list[bytes] = []
        self.heard: list[str] = []
        self.tls: ssl.SSLContext | None = None
        self.tls_from_the_start = False

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls and self.tls_from_the_start:
            connection = self.tls.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, *_: object) -> None:
        """A client that does not trust us hangs up: nothing to say about it."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        said = self.say("CONNECT")
        while said and (line := self.rfile.readline()):
            self.server.heard.append(line.decode().strip())
            verb = line.split()[0].upper().decode()
            said = self.say(verb) if verb != "QUIT" else self.say(verb)[:0]
            if verb == "STARTTLS" and self.server.tls:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
                self.setup()
            if verb == "DATA" and said.startswith("354"):
                self.server.mails.append(self.mail())
                said = self.say("END")

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def say(self, step: str) -> str:
        """Say a step's line; an empty one hangs up."""
        says = self.server.says.get(step, USUAL.get(step, "250 2.0.0 fine"))
        if says:
            self.wfile.write(f"{says}\r\n".encode())
        return says

    def mail(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)


@pytest.fixture
def server() -> Iterator[MailServer]:
    found = MailServer()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback that signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "mail.pem"
    no_password = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_server(server: MailServer, certificate: Path) -> MailServer:
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(certificate)
    server.says["EHLO"] = "250-mail.example\r\n250-STARTTLS\r\n250 AUTH PLAIN"
    server.says["STARTTLS"] = "220 go"
    server.says["AUTH"] = "235 2.7.0 welcome"
    return server


def channel(server: MailServer, **changes: object) -> EmailSmtp:
    conf = Conf.simulated(url="http://127.0.0.1:1", smtp_port=server.port)
    return EmailSmtp(Conf.model_validate({**conf.model_dump(), **changes}))


def test_a_mail_arrives_whole_with_what_tells_it_apart(server: MailServer) -> None:
    receipt = channel(server, sender="Laden für Lampen <shop@example.com>", reply_to="help@example.com").send(LETTER)

    mail = email.message_from_bytes(server.mails[0], policy=email.policy.default)
    assert mail["Subject"] == "Grüße"
    assert mail["From"] == "Laden für Lampen <shop@example.com>"
    assert mail["Message-ID"] == receipt.provider_id == "<d-1@example.com>"
    assert mail["X-Backroom-Delivery"] == "d-1"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Reply-To"] == "help@example.com"
    assert mail["Date"]
    plain, html = mail.iter_parts()
    assert plain.get_content().splitlines() == ["Zeile", ".", "..Punkt"]
    assert html.get_content().strip() == "<p>Grüße</p>"


def test_every_try_has_the_same_message_id(server: MailServer) -> None:
    assert channel(server).send(LETTER).provider_id == channel(server).send(LETTER).provider_id


@pytest.mark.parametrize(
    ("step", "says", "suppress"),
    [
        ("RCPT", "550 5.1.1 no such ada@example.com", True),
        ("RCPT", "550 5.2.1 mailbox off", False),
        ("RCPT", "550 no", False),
        ("DATA", "554 5.7.1 no", False),
        ("END", "552 5.3.4 too big", False),
        ("END", "550 5.1.1 odd place", False),
    ],
)
def test_a_5xx_is_for_good_and_kills_only_a_dead_address(
    server: MailServer, step: str, says: str, *, suppress: bool
) -> None:
    server.says[step] = says
    with pytest.raises(Rejected) as caught:
        channel(server).send(LETTER)
    assert caught.value.suppress is suppress
    assert caught.value.code.startswith(says[:3])
    assert "ada@" not in str(caught.value)


@pytest.mark.parametrize("step", ["CONNECT", "MAIL", "RCPT", "DATA", "END"])
def test_a_4xx_is_tried_again(server: MailServer, step: str) -> None:
    server.says[step] = "451 4.3.0 later"
    with pytest.raises(Unreachable) as caught:
        channel(server).send(LETTER)
    assert not caught.value.maybe_sent
    assert caught.value.code == "451 4.3.0"


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("CONNECT", "554 go away"),
        ("MAIL", "553 5.1.8 bad sender"),
        ("RCPT", "530 5.7.0 log in"),
        ("RCPT", "550 5.1.7 bad sender"),
    ],
)
def test_what_is_about_us_is_for_an_administrator(server: MailServer, step: str, says: str) -> None:
    server.says[step] = says
    with pytest.raises(Misconfigured) as caught:
        channel(server).send(LETTER)
    assert caught.value.code.startswith(says[:3])


def test_a_wrong_password_is_for_an_administrator(server: MailServer) -> None:
    server.says["AUTH"] = "535 5.7.8 no"
    with pytest.raises(Misconfigured) as caught:
        channel(server, username="shop", password="wrong").send(LETTER)
    assert caught.value.code == "535 5.7.8"
    assert "wrong" not in repr(caught.value)


def test_a_login_that_fails_for_now_is_tried_again(server: MailServer) -> None:
    server.says["AUTH"] = "454 4.7.0 later"
    with pytest.raises(Unreachable):
        channel(server, username="shop", password="right").send(LETTER)


def test_a_server_without_starttls_gets_no_mail(server: MailServer) -> None:
    with pytest.raises(Misconfigured, match="STARTTLS"):
        channel(server, security="starttls").send(LETTER)
    assert server.mails == []


@pytest.mark.parametrize(
    ("step", "maybe"), [("CONNECT", False), ("MAIL", False), ("RCPT", False), ("DATA", False), ("END", True)]
)
def test_a_server_that_hangs_up_may_have_the_mail_only_once_it_got_it(
    server: MailServer, step: str, *, maybe: bool
) -> None:
    server.says[step] = ""
    with pytest.raises(Unreachable) as caught:
        channel(server).send(LETTER)
    assert caught.value.maybe_sent is maybe


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_mail_goes_over_tls_to_a_server_that_can_be_trusted(
    tls_server: MailServer, certificate: Path, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_server.tls_from_the_start = security == "tls"
    assert channel(tls_server, security=security, username="shop", password="right").send(LETTER).provider_id
    assert len(tls_server.mails) == 1


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_that_nobody_vouches_for_gets_no_mail(tls_server: MailServer, security: str) -> None:
    tls_server.tls_from_the_start = security == "tls"
    with pytest.raises(Misconfigured, match="certificate"):
        channel(tls_server, security=security, username="shop", password="right").send(LETTER)
    assert not any("AUTH" in line for line in tls_server.heard)


def test_a_rude_goodbye_does_not_matter(server: MailServer) -> None:
    server.says["QUIT"] = ""
    assert channel(server).send(LETTER).provider_id


@pytest.mark.parametrize(
    "to", ["ada", "ada@example.com\r\nRCPT TO:<eve@example.com>", "a@b, c@d", "", "Ada <a@b.example>"]
)
def test_an_address_that_is_none_never_reaches_the_server(server: MailServer, to: str) -> None:
    letter = Letter(delivery="d", app="a", user="u", type="t", to=to, locale="en", parts=LETTER.parts)
    with pytest.raises(Rejected) as caught:
        channel(server).send(letter)
    assert caught.value.suppress
    assert server.heard == []


def test_an_address_outside_ascii_needs_a_server_that_takes_it(server: MailServer) -> None:
    letter = Letter(delivery="d", app="a", user="u", type="t", to="grüße@example.com", locale="en", parts=LETTER.parts)
    with pytest.raises(Rejected):
        channel(server).send(letter)
    server.says["EHLO"] = "250-mail.example\r\n250-8BITMIME\r\n250 SMTPUTF8"
    assert channel(server).send(letter).provider_id


@pytest.mark.parametrize("sender", ["Shop", "shop@", "a@b\r\nBcc: c@d.example", ""])
def test_a_sender_is_an_address(sender: str) -> None:
    with pytest.raises(ValidationError):
        Conf(host="mail.example", sender=sender)


def test_a_password_goes_over_no_line_in_clear() -> None:
    wanted = {"sender": "shop@example.com", "security": "none", "username": "shop", "password": "secret"}

    assert Conf(host="127.0.0.1", **wanted).username == "shop"
    with pytest.raises(ValidationError, match="would send the password in clear"):
        Conf(host="mail.example.com", **wanted)
