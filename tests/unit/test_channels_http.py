"""What SendGrid's and Twilio's answers mean: each status and code becomes a receipt or one of three errors."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError

from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.letter import Letter
from channels import email_sendgrid, sms_twilio
from channels.email_sendgrid import EmailSendgrid
from channels.sms_twilio import SmsTwilio

HUNG_UP = 0


class Carrier:
    """A carrier on loopback that gives one answer to every request, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 202, {}, b""
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        carrier = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                carrier.asked.append((self.path, dict(self.headers), body))
                if carrier.status == HUNG_UP:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(carrier.status)
                for name, value in carrier.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(carrier.body)))
                self.end_headers()
                self.wfile.write(carrier.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answers(self, status: int, body: Any = "", **headers: str) -> None:
        self.status, self.body = status, json.dumps(body).encode() if body else b""
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def carrier() -> Iterator[Carrier]:
    carrier = Carrier()
    thread = threading.Thread(target=carrier.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield carrier
    carrier.server.shutdown()
    carrier.server.server_close()
    thread.join()


EMAIL = Letter(
    delivery="d-1",
    app="a-1",
    user="u-1",
    type="order_shipped",
    to="ada@example.com",
    locale="en",
    parts={"subject": "Hello", "text": "Words", "html": "<p>Words</p>"},
    attempt=2,
)
SMS = Letter(
    delivery="d 1&",
    app="a-1",
    user="u-1",
    type="order_shipped",
    to="+43 660 1234567",
    locale="en",
    parts={"text": "Words"},
)


def sendgrid(carrier: Carrier) -> Callable[[], Any]:
    conf = email_sendgrid.Conf.simulated(url=carrier.url, smtp_port=0)
    channel = EmailSendgrid(conf)
    return lambda: channel.send(EMAIL)


def twilio(carrier: Carrier, **changes: Any) -> Callable[[], Any]:
    conf = sms_twilio.Conf.simulated(url=carrier.url, smtp_port=0).model_copy(update=changes)
    channel = SmsTwilio(conf)
    return lambda: channel.send(SMS)


def message(**changes: Any) -> dict[str, Any]:
    return {"sid": "SM" + "0" * 32, "status": "queued", "error_code": None, **changes}


@pytest.mark.parametrize("status", [200, 202])
def test_sendgrid_takes_a_mail_in_earnest_and_in_its_sandbox(carrier: Carrier, status: int) -> None:
    carrier.answers(status, X_Message_Id="m-1")
    assert sendgrid(carrier)().provider_id == "m-1"
    (path, headers, body) = carrier.asked[0]
    mail = json.loads(body)
    assert path == "/v3/mail/send"
    assert headers["Authorization"].startswith("Bearer SG.")
    assert mail["personalizations"][0]["custom_args"] == {"delivery_id": "d-1", "attempt": "2"}
    assert [part["type"] for part in mail["content"]] == ["text/plain", "text/html"]
    assert mail["tracking_settings"]["click_tracking"] == {"enable": False, "enable_text": False}


@pytest.mark.parametrize(
    ("status", "field", "suppress"),
    [(400, "personalizations.0.to.0.email", True), (400, "subject", False), (400, None, False), (413, None, False)],
)
def test_sendgrid_refuses_a_mail_for_good(carrier: Carrier, status: int, field: str | None, *, suppress: bool) -> None:
    carrier.answers(status, {"errors": [{"message": "bad ada@example.com", "field": field, "help": None}]})
    with pytest.raises(Rejected) as caught:
        sendgrid(carrier)()
    assert (caught.value.code, caught.value.suppress) == (str(status), suppress)
    assert "ada@" not in str(caught.value)


@pytest.mark.parametrize(("status", "field"), [(401, None), (403, "from"), (404, None), (400, "from.email")])
def test_sendgrid_refuses_us(carrier: Carrier, status: int, field: str | None) -> None:
    carrier.answers(status, {"errors": [{"message": "no", "field": field}]})
    with pytest.raises(Misconfigured) as caught:
        sendgrid(carrier)()
    assert caught.value.code == str(status)


def test_sendgrid_says_when_to_come_back_by_retry_after(carrier: Carrier) -> None:
    carrier.answers(429, {"errors": []}, Retry_After="7")
    with pytest.raises(Unreachable) as caught:
        sendgrid(carrier)()
    assert caught.value.after == timedelta(seconds=7)


def test_sendgrid_says_when_to_come_back_by_reset(carrier: Carrier) -> None:
    carrier.answers(429, {"errors": []}, X_RateLimit_Reset=str(int(time.time()) + 600))
    with pytest.raises(Unreachable) as caught:
        sendgrid(carrier)()
    assert caught.value.after is not None
    assert timedelta(minutes=5) < caught.value.after <= timedelta(minutes=10)


@pytest.mark.parametrize(("status", "maybe"), [(500, False), (503, False), (504, True), (HUNG_UP, True)])
def test_sendgrid_in_trouble_is_tried_again(carrier: Carrier, status: int, *, maybe: bool) -> None:
    carrier.answers(status, "<html>")
    with pytest.raises(Unreachable) as caught:
        sendgrid(carrier)()
    assert caught.value.maybe_sent is maybe
    assert len(carrier.asked) == 1, "the SDK must not try again on its own"


def test_sendgrid_needs_an_address_to_send_from() -> None:
    with pytest.raises(ValidationError):
        email_sendgrid.Conf(api_key="SG.x", sender="Shop")


def test_twilio_takes_a_text_with_our_report_address(carrier: Carrier) -> None:
    carrier.answers(201, message())
    assert twilio(carrier, public_url="https://door.example/")().provider_id == "SM" + "0" * 32
    (path, _, body) = carrier.asked[0]
    form = parse_qs(body.decode())
    assert path == f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    assert form["To"] == ["+436601234567"]
    assert form["StatusCallback"] == ["https://door.example/v1/reports/twilio?delivery=d+1%26"]


def test_twilio_sends_through_a_messaging_service(carrier: Carrier) -> None:
    carrier.answers(201, message())
    service = "MG" + "0" * 32
    twilio(carrier, sender="", messaging_service_sid=service, public_url="")()
    form = parse_qs(carrier.asked[0][2].decode())
    assert form["MessagingServiceSid"] == [service]
    assert not form.keys() & {"From", "StatusCallback"}


@pytest.mark.parametrize("senders", [{}, {"sender": "+15005550006", "messaging_service_sid": "MG" + "0" * 32}])
def test_twilio_needs_exactly_one_sender(senders: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one of SMS_TWILIO_SENDER and SMS_TWILIO_MESSAGING_SERVICE_SID"):
        sms_twilio.Conf(account_sid="AC" + "0" * 32, auth_token="x", **senders)


@pytest.mark.parametrize(
    ("status", "code", "suppress"),
    [
        (400, 21610, True),
        (400, 21211, True),
        (400, 21614, True),
        (403, 21610, True),
        (400, 21408, False),
        (400, 21612, False),
        (400, 21617, False),
        (400, 99999, False),
    ],
)
def test_twilio_refuses_a_text_for_good(carrier: Carrier, status: int, code: int, *, suppress: bool) -> None:
    carrier.answers(status, {"code": code, "message": "not to +436601234567", "status": status})
    with pytest.raises(Rejected) as caught:
        twilio(carrier)()
    assert (caught.value.code, caught.value.suppress) == (str(code), suppress)
    assert "+43" not in str(caught.value)


@pytest.mark.parametrize(("status", "code"), [(401, 20003), (403, 20003), (404, 20404), (400, 21606), (400, 30034)])
def test_twilio_refuses_us(carrier: Carrier, status: int, code: int) -> None:
    carrier.answers(status, {"code": code, "message": "no", "status": status})
    with pytest.raises(Misconfigured) as caught:
        twilio(carrier)()
    assert caught.value.code == str(code)


def test_twilio_says_when_to_come_back(carrier: Carrier) -> None:
    carrier.answers(429, {"code": 20429, "message": "slow", "status": 429}, Retry_After="3")
    with pytest.raises(Unreachable) as caught:
        twilio(carrier)()
    assert caught.value.after == timedelta(seconds=3)
    assert not caught.value.maybe_sent


@pytest.mark.parametrize(("status", "maybe"), [(500, False), (503, False), (504, True), (HUNG_UP, True), (201, True)])
def test_twilio_in_trouble_is_tried_again(carrier: Carrier, status: int, *, maybe: bool) -> None:
    # The 201 has no message in it: taken, perhaps, but nobody can tell.
    carrier.answers(status, "nonsense")
    with pytest.raises(Unreachable) as caught:
        twilio(carrier)()
    assert caught.value.maybe_sent is maybe
    assert len(carrier.asked) == 1, "the SDK must not try again on its own"


def test_twilio_may_fail_a_text_in_the_answer_that_takes_it(carrier: Carrier) -> None:
    carrier.answers(201, message(status="failed", error_code=30005))
    with pytest.raises(Rejected) as caught:
        twilio(carrier)()
    assert caught.value.suppress


@pytest.mark.parametrize("to", ["0660 1234567", "ada", "+43", "", "+1234567890123456789"])
def test_a_number_that_is_none_never_reaches_twilio(carrier: Carrier, to: str) -> None:
    channel = SmsTwilio(sms_twilio.Conf.simulated(url=carrier.url, smtp_port=0))
    with pytest.raises(Rejected) as caught:
        channel.send(Letter(delivery="d", app="a", user="u", type="t", to=to, locale="en", parts={"text": "x"}))
    assert caught.value.suppress
    assert carrier.asked == []


@pytest.mark.parametrize(("text", "says"), [("x" * 1601, "too long"), ("ü€" * 500, "parts"), ("я" * 500, "8 parts")])
def test_a_text_that_would_cost_too_much_never_reaches_twilio(carrier: Carrier, text: str, says: str) -> None:
    channel = SmsTwilio(sms_twilio.Conf.simulated(url=carrier.url, smtp_port=0))
    with pytest.raises(Rejected, match=says):
        channel.send(
            Letter(delivery="d", app="a", user="u", type="t", to="+436601234567", locale="en", parts={"text": text})
        )
    assert carrier.asked == []


def test_two_threads_never_share_a_twilio_session(carrier: Carrier) -> None:
    carrier.answers(201, message())
    channel = SmsTwilio(sms_twilio.Conf.simulated(url=carrier.url, smtp_port=0))
    found: list[object] = []

    def send() -> None:
        channel.send(SMS)
        found.append(channel._client()[0])

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is not found[1]
