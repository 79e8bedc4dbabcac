"""A mail client talks to the simulator as it would to any mail server."""

import smtplib
import uuid
from email.message import EmailMessage

import pytest

from backroom.simulator import magic
from backroom.simulator.run import Simulator


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def delivery():
    return str(uuid.uuid4())


def mail(delivery, *, to="ada@example.com"):
    message = EmailMessage()
    message["From"] = "Grüße vom Laden <shop@example.com>"
    message["To"] = to
    message["Subject"] = "Ihre Bestellung: schöne Töpfe"
    message["X-Backroom-Delivery"] = delivery
    message.set_content("Sie ist unterwegs.\n")
    message.add_alternative("<p>Sie ist unterwegs.</p>\n", subtype="html")
    return message


def send(simulator, message, *, timeout=5, **more):
    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=timeout) as server:
        return server.send_message(message, **more)


def test_a_good_mail_is_taken_and_kept(simulator, delivery):
    message = mail(delivery)
    message.add_attachment(b"1,2", maintype="text", subtype="csv", filename="töpfe.csv")

    send(simulator, message)

    (kept,) = simulator.letters(delivery=delivery)
    assert (kept["medium"], kept["carrier"], kept["outcome"]) == ("email", "smtp", "delivered")
    assert (kept["from"], kept["to"]) == ("Grüße vom Laden <shop@example.com>", "ada@example.com")
    assert (kept["subject"], kept["text"].strip()) == ("Ihre Bestellung: schöne Töpfe", "Sie ist unterwegs.")
    assert kept["html"].strip() == "<p>Sie ist unterwegs.</p>"
    assert kept["attachments"] == [{"name": "töpfe.csv", "type": "text/csv", "size": 3}]
    assert kept["attempt"] == 1


def test_every_recipient_gets_a_letter(simulator, delivery):
    send(simulator, mail(delivery), to_addrs=["ada@example.com", "grace@example.com"])

    assert {kept["to"] for kept in simulator.letters(delivery=delivery)} == {"ada@example.com", "grace@example.com"}


def test_any_login_is_taken_but_a_revoked_one(simulator):
    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=5) as server:
        assert server.login("shop", "any")[0] == 235
    with (
        smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=5) as server,
        pytest.raises(smtplib.SMTPAuthenticationError),
    ):
        server.login("shop", magic.KEY_REVOKED)


def test_a_mail_over_the_limit_is_refused_before_it_is_sent(simulator):
    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=5) as server:
        server.ehlo()
        code, _ = server.mail("shop@example.com", [f"SIZE={30 * 1024 * 1024 + 1}"])

    assert code == 552


def test_a_bouncing_address_is_refused_at_the_door(simulator):
    to = f"bounce+{uuid.uuid4()}@example.com"

    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        send(simulator, mail("", to=to))

    (kept,) = simulator.letters(to=to)
    assert caught.value.recipients[to] == (550, b"5.1.1 No such user here")
    assert (kept["outcome"], kept["accepted"]) == ("bounced", False)


@pytest.mark.parametrize(
    ("to", "codes"),
    [
        (magic.EMAIL_GOOD, [250]),
        (magic.EMAIL_REFUSED, [554, 554]),
        (magic.EMAIL_LIMITED, [451, 250]),
        (magic.EMAIL_FLAKY, [451, 451, 250]),
    ],
)
def test_a_magic_address_has_its_answers(simulator, delivery, to, codes):
    def code():
        try:
            send(simulator, mail(delivery, to=to))
        except smtplib.SMTPDataError as error:
            return error.smtp_code
        return 250

    assert [code() for _ in codes] == codes
    assert [kept["answer"][:3] for kept in simulator.letters(delivery=delivery)] == [str(each) for each in codes[::-1]]


def test_a_hanging_address_never_answers_though_the_mail_went_out(simulator, delivery):
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        send(simulator, mail(delivery, to=magic.EMAIL_HANGS), timeout=0.5)

    (kept,) = simulator.letters(delivery=delivery)
    assert (kept["outcome"], kept["accepted"]) == ("unanswered", True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no headers at all",
        b"Subject: =?utf-9?q?x?=\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe",
        b"Subject: \xff\xfe\r\nFrom: \xe4@example.com\r\n\r\nhello",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n",
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n--b--",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!",
        b"To: " + b"<" * 500 + b"\r\nDate: \x00\r\n\r\nx",
        b"Content-Type: text/html; charset*=\xff''x\r\nContent-Disposition: attachment; filename*=x'\r\n\r\nx",
    ],
)
def test_a_broken_mail_is_kept_all_the_same(simulator, raw):
    to = f"{uuid.uuid4()}@example.com"

    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=5) as server:
        server.sendmail("shop@example.com", [to], raw)

    assert len(simulator.letters(to=to)) == 1
