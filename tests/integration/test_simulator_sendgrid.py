"""The real SendGrid SDK talks to the simulator as it would to SendGrid."""

import json
import uuid

import httpx
import pytest
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Attachment, Content, CustomArg, From, Header, Mail, MailSettings, SandBoxMode, To

from backroom.simulator import magic
from backroom.simulator.run import Simulator


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def delivery():
    return str(uuid.uuid4())


def mail(delivery, *, to="ada@example.com", **more):
    mail = Mail(
        from_email=From("shop@example.com", "The Shop"),
        to_emails=[To(to)],
        subject="Your order",
        plain_text_content="It is on its way.",
        html_content="<p>It is on its way.</p>",
        **more,
    )
    mail.personalizations[0].add_custom_arg(CustomArg("delivery_id", delivery))
    return mail


def send(simulator, mail, *, key="SG.any"):
    """The answer's status, headers and body, also of one that the SDK raises."""
    sdk = SendGridAPIClient(key, host=simulator.url)
    sdk.client.timeout = 5
    try:
        answer = sdk.send(mail)
    except HTTPError as error:
        answer = error
    return answer.status_code, answer.headers, answer.body


def post(simulator, content, **headers):
    headers = {"Authorization": "Bearer SG.any", "Content-Type": "application/json", **headers}
    return httpx.post(f"{simulator.url}/v3/mail/send", content=content, headers=headers, timeout=20)


def test_a_good_mail_is_taken_and_kept(simulator, delivery):
    letter = mail(delivery)
    letter.add_header(Header("List-Unsubscribe", "<https://shop.example/u>"))
    letter.add_attachment(Attachment(file_content="aGVsbG8=", file_name="hello.txt", file_type="text/plain"))

    status, headers, body = send(simulator, letter)

    (kept,) = simulator.letters(delivery=delivery)
    assert (status, body) == (202, b"")
    assert kept["provider_id"] == headers["X-Message-Id"]
    assert (kept["medium"], kept["carrier"], kept["outcome"]) == ("email", "sendgrid", "delivered")
    assert (kept["from"], kept["to"]) == ("The Shop <shop@example.com>", "ada@example.com")
    assert (kept["subject"], kept["text"]) == ("Your order", "It is on its way.")
    assert kept["html"] == "<p>It is on its way.</p>"
    assert kept["headers"]["List-Unsubscribe"] == "<https://shop.example/u>"
    assert [each["name"] for each in kept["attachments"]] == ["hello.txt"]


def test_every_recipient_gets_a_letter(simulator, delivery):
    letter = mail(delivery)
    letter.personalizations[0].add_cc(To("grace@example.com"))

    send(simulator, letter)

    assert {kept["to"] for kept in simulator.letters(delivery=delivery)} == {"ada@example.com", "grace@example.com"}


def test_the_sandbox_says_200_and_sends_nothing(simulator, delivery):
    letter = mail(delivery)
    letter.mail_settings = MailSettings(sandbox_mode=SandBoxMode(enable=True))

    status, _, body = send(simulator, letter)

    assert (status, body) == (200, b"")
    assert simulator.letters(delivery=delivery) == []


def test_a_wrong_mail_is_told_its_fields_and_not_kept(simulator, delivery):
    letter = mail(delivery, to="nobody@nowhere")
    letter.add_content(Content("text/x-amp", "x"))

    status, _, body = send(simulator, letter)

    assert status == 400
    (error,) = json.loads(body)["errors"]
    assert set(error) == {"message", "field", "help"}
    assert error["field"] == "personalizations.0.to.0.email"
    assert simulator.letters(delivery=delivery) == []


@pytest.mark.parametrize(("key", "status"), [(f"SG.{magic.KEY_REVOKED}", 401), (f"SG.{magic.KEY_WITHOUT_SCOPE}", 403)])
def test_a_wrong_key_is_refused(simulator, delivery, key, status):
    answer = send(simulator, mail(delivery), key=key)

    assert answer[0] == status
    assert json.loads(answer[2])["errors"][0]["field"] is None


def test_a_missing_key_is_refused(simulator):
    assert post(simulator, "{}", Authorization="").status_code == 401
    assert post(simulator, "{}", Authorization="Basic eDp5").status_code == 401


def test_a_body_over_30_megabytes_is_too_large(simulator):
    answer = post(simulator, b" " * (30 * 1024 * 1024 + 1))

    assert answer.status_code == 413
    assert answer.json()["errors"]


def test_a_body_of_another_kind_is_refused(simulator):
    assert post(simulator, "a=b", **{"Content-Type": "application/x-www-form-urlencoded"}).status_code == 415
    assert post(simulator, "[1]").status_code == 400
    assert post(simulator, b'{"subject": "\xff"}').status_code == 400
    assert httpx.get(f"{simulator.url}/v3/mail/send").status_code == 405


def test_a_bouncing_address_is_taken_and_bounces(simulator, delivery):
    status, _, _ = send(simulator, mail(delivery, to=magic.EMAIL_BOUNCES))

    (kept,) = simulator.letters(delivery=delivery)
    assert (status, kept["outcome"], kept["accepted"]) == (202, "bounced", True)


def test_a_refusing_address_gets_400_and_was_never_sent(simulator, delivery):
    status, _, body = send(simulator, mail(delivery, to=magic.EMAIL_REFUSED))

    (kept,) = simulator.letters(delivery=delivery)
    assert (status, kept["outcome"], kept["accepted"]) == (400, "refused", False)
    assert json.loads(body)["errors"][0]["message"]


def test_a_limited_address_waits_once_and_is_served(simulator, delivery):
    first = send(simulator, mail(delivery, to=magic.EMAIL_LIMITED))
    second = send(simulator, mail(delivery, to=magic.EMAIL_LIMITED))

    assert (first[0], second[0]) == (429, 202)
    assert first[1]["Retry-After"] == "1"
    assert [first[1][f"X-RateLimit-{each}"] for each in ("Limit", "Remaining")] == ["1", "0"]
    assert first[1]["X-RateLimit-Reset"].isdigit()
    assert [kept["outcome"] for kept in simulator.letters(delivery=delivery)] == ["delivered", "limited"]


def test_a_flaky_address_fails_twice_and_is_served(simulator, delivery):
    statuses = [send(simulator, mail(delivery, to=magic.EMAIL_FLAKY))[0] for _ in range(3)]

    assert statuses == [500, 500, 202]
    assert [kept["attempt"] for kept in simulator.letters(delivery=delivery)] == [3, 2, 1]


def test_a_hanging_address_never_answers_though_the_letter_went_out(simulator, delivery):
    sdk = SendGridAPIClient("SG.any", host=simulator.url)
    sdk.client.timeout = 0.5
    with pytest.raises(TimeoutError):
        sdk.send(mail(delivery, to=magic.EMAIL_HANGS))

    (kept,) = simulator.letters(delivery=delivery)
    assert (kept["outcome"], kept["accepted"], kept["answer"]) == ("unanswered", True, "")
