"""The real Twilio SDK talks to the simulator as it would to Twilio."""

import uuid
from urllib.parse import urlsplit

import httpx
import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from backroom.simulator import magic
from backroom.simulator.run import Simulator

ACCOUNT = "AC" + "0" * 32
TO = "+4915112345678"


class Redirected(TwilioHttpClient):
    """The SDK's own client, with another address."""

    def __init__(self, url, timeout):
        super().__init__(timeout=timeout)
        self._url = url

    def request(self, method, url, *args, **kwargs):
        parts = urlsplit(url)
        return super().request(method, f"{self._url}{parts.path}?{parts.query}".rstrip("?"), *args, **kwargs)


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def delivery():
    return str(uuid.uuid4())


def client(simulator, *, token="any", timeout=5):
    http = Redirected(simulator.url, timeout)
    sdk = Client(ACCOUNT, token, http_client=http)
    return sdk, http


def send(simulator, delivery="", *, to=TO, token="any", timeout=5, **changes):
    message = {"to": to, "from_": magic.NUMBER_GOOD, "body": "Your code is 123 456", **changes}
    if delivery:
        message["status_callback"] = f"http://127.0.0.1:8000/reports?delivery={delivery}"
    sdk, http = client(simulator, token=token, timeout=timeout)
    try:
        return sdk.messages.create(**message)
    finally:
        http.session.close()


def refusal(simulator, delivery="", **changes):
    with pytest.raises(TwilioRestException) as caught:
        send(simulator, delivery, **changes)
    return caught.value.status, caught.value.code


def test_a_good_message_is_taken_and_kept(simulator, delivery):
    message = send(simulator, delivery, validity_period=60)

    (kept,) = simulator.letters(delivery=delivery)
    assert message.sid.startswith("SM")
    assert len(message.sid) == 34
    assert (message.status, message.num_segments, message.error_code) == ("queued", "1", None)
    assert (message.to, message.from_, message.body) == (TO, magic.NUMBER_GOOD, "Your code is 123 456")
    assert message.date_created is not None
    assert (kept["medium"], kept["carrier"], kept["outcome"]) == ("sms", "twilio", "delivered")
    assert (kept["provider_id"], kept["text"]) == (message.sid, "Your code is 123 456")
    assert (kept["segments"], kept["encoding"]) == (1, "GSM-7")
    assert kept["headers"]["ValidityPeriod"] == "60"


def test_parts_are_counted(simulator, delivery):
    message = send(simulator, delivery, body="ê" * 71)

    (kept,) = simulator.letters(delivery=delivery)
    assert message.num_segments == "2"
    assert (kept["segments"], kept["encoding"]) == (2, "UCS-2")


def test_a_messaging_service_has_not_chosen_its_sender_yet(simulator, delivery):
    message = send(simulator, delivery, from_=None, messaging_service_sid="MG" + "0" * 32)

    assert (message.status, message.from_, message.num_segments) == ("accepted", None, "0")
    assert message.messaging_service_sid == "MG" + "0" * 32


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"to": "12345"}, (400, 21211)),
        ({"to": ""}, (400, 21604)),
        ({"from_": None}, (400, 21603)),
        ({"body": ""}, (400, 21602)),
        ({"body": "a" * 1601}, (400, 21617)),
        ({"validity_period": 36001}, (400, 21624)),
        ({"status_callback": "nowhere"}, (400, 21609)),
        ({"token": magic.KEY_REVOKED}, (401, 20003)),
        ({"to": magic.NUMBER_INVALID}, (400, 21211)),
        ({"to": magic.NUMBER_UNROUTABLE}, (400, 21612)),
        ({"to": magic.NUMBER_REGION_OFF}, (400, 21408)),
        ({"to": magic.NUMBER_OPTED_OUT}, (400, 21610)),
        ({"to": magic.NUMBER_NOT_MOBILE}, (400, 21614)),
        ({"to": magic.NUMBER_REFUSED}, (400, 21610)),
    ],
)
def test_what_twilio_would_refuse_is_refused_with_its_code(simulator, changes, refused):
    assert refusal(simulator, **changes) == refused


def test_an_error_has_the_four_members_of_twilios(simulator):
    answer = httpx.post(f"{simulator.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", data={"To": TO})

    assert answer.status_code == 401
    assert set(answer.json()) == {"code", "message", "more_info", "status"}


def test_an_account_that_cannot_exist_is_not_found(simulator):
    answer = httpx.post(
        f"{simulator.url}/2010-04-01/Accounts/ACme/Messages.json", auth=(ACCOUNT, "any"), data={"To": TO}
    )

    assert (answer.status_code, answer.json()["code"]) == (404, 20404)


def test_an_unknown_handset_is_taken_and_undelivered(simulator, delivery):
    message = send(simulator, delivery, to=magic.NUMBER_UNKNOWN_HANDSET)
    sdk, http = client(simulator)
    later = sdk.messages(message.sid).fetch()
    http.session.close()

    (kept,) = simulator.letters(delivery=delivery)
    assert (message.status, kept["outcome"]) == ("queued", "bounced")
    assert (later.status, later.error_code) == ("undelivered", 30005)


def test_a_limited_number_waits_once_and_is_served(simulator, delivery):
    assert refusal(simulator, delivery, to=magic.NUMBER_LIMITED) == (429, 20429)
    assert send(simulator, delivery, to=magic.NUMBER_LIMITED).status == "queued"
    assert [kept["outcome"] for kept in simulator.letters(delivery=delivery)] == ["delivered", "limited"]


def test_a_flaky_number_fails_twice_and_is_served(simulator, delivery):
    assert refusal(simulator, delivery, to=magic.NUMBER_FLAKY)[0] == 500
    assert refusal(simulator, delivery, to=magic.NUMBER_FLAKY)[0] == 500
    assert send(simulator, delivery, to=magic.NUMBER_FLAKY).status == "queued"


def test_a_hanging_number_never_answers_though_the_message_went_out(simulator, delivery):
    with pytest.raises(requests.exceptions.ReadTimeout):
        send(simulator, delivery, to=magic.NUMBER_HANGS, timeout=0.5)

    (kept,) = simulator.letters(delivery=delivery)
    assert (kept["outcome"], kept["accepted"]) == ("unanswered", True)


def test_messages_are_listed_by_recipient_over_pages(simulator):
    sids = [send(simulator, to="+4915187654321").sid for _ in range(5)]

    sdk, http = client(simulator)
    listed = [message.sid for message in sdk.messages.list(to="+4915187654321", page_size=2)]
    http.session.close()

    assert listed == sids[::-1]


def test_a_message_that_never_was_is_not_found(simulator):
    sdk, http = client(simulator)
    with pytest.raises(TwilioRestException) as caught:
        sdk.messages("SM" + "0" * 32).fetch()
    http.session.close()

    assert (caught.value.status, caught.value.code) == (404, 20404)
