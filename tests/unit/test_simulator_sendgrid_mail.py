"""A mail that SendGrid would refuse is refused, and the field is named."""

import json

import pytest

from backroom.simulator.sendgrid_mail import ERRORS_TOLD, Mail, read_mail

NOW = 1_800_000_000.0


def good(**changes):
    mail = {
        "from": {"email": "shop@example.com", "name": "Shop"},
        "subject": "Hello",
        "personalizations": [{"to": [{"email": "ada@example.com"}], "custom_args": {"delivery_id": "d-1"}}],
        "content": [{"type": "text/plain", "value": "Hello"}, {"type": "text/html", "value": "<p>Hello"}],
    }
    return {**mail, **changes}


def judged(mail):
    return read_mail(json.dumps(mail).encode(), now=NOW)


def fields(mail):
    found = judged(mail)
    return [] if isinstance(found, Mail) else [error.field for error in found]


def to(*addresses, **more):
    return {"to": [{"email": address} for address in addresses], **more}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"subject": "", "personalizations": [to("ada@example.com", subject="Hello")]},
        {"subject": "", "content": [], "template_id": "d-123"},
        {"categories": [f"c{place}" for place in range(10)]},
        {"custom_args": {"delivery_id": "d-1"}},
        {
            "headers": {
                "List-Unsubscribe": "<https://example.com/u>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            }
        },
        {"send_at": int(NOW) + 72 * 3600},
        {"reply_to": {"email": "help@example.com"}},
        {"asm": {"group_id": 7, "groups_to_display": [7]}},
        {"tracking_settings": {"click_tracking": {"enable": False}}},
        {"personalizations": [to(f"u{place}@example.com") for place in range(1000)]},
    ],
)
def test_a_good_mail_is_taken(changes):
    assert isinstance(judged(good(**changes)), Mail)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [to(f"u{place}@example.com") for place in range(1001)]}, "personalizations"),
        ({"personalizations": [to(*(f"u{place}@example.com" for place in range(1001)))]}, "personalizations"),
        ({"personalizations": [{"cc": [{"email": "ada@example.com"}]}]}, "personalizations.0.to"),
        ({"personalizations": [to("ada@")]}, "personalizations.0.to.0.email"),
        ({"personalizations": [to("ada example.com")]}, "personalizations.0.to.0.email"),
        ({"personalizations": [to("ada@example.com", "ADA@example.com")]}, "personalizations.0"),
        (
            {"personalizations": [to("a@example.com", custom_args={"x": "y" * 10_000})]},
            "personalizations.0.custom_args",
        ),
        ({"personalizations": [to("a@example.com", custom_args={"x": 5})]}, "personalizations.0.custom_args"),
        ({"from": None}, "from.email"),
        ({"from": {"email": "shop"}}, "from.email"),
        ({"subject": ""}, "subject"),
        ({"subject": 5}, "subject"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]}, "content"),
        ({"categories": [f"c{place}" for place in range(11)]}, "categories"),
        ({"categories": ["same", "same"]}, "categories"),
        ({"categories": ["c" * 256]}, "categories.0"),
        ({"headers": {"Reply-To": "x@example.com"}}, "headers.Reply-To"),
        ({"headers": {"X-SG-ID": "x"}}, "headers.X-SG-ID"),
        ({"headers": {"X-Fine": "one\r\nBcc: two"}}, "headers"),
        ({"send_at": int(NOW) + 72 * 3600 + 1}, "send_at"),
        ({"reply_to": {"email": "a@example.com"}, "reply_to_list": [{"email": "b@example.com"}]}, "reply_to_list"),
        ({"asm": {"groups_to_display": []}}, "asm.group_id"),
        ({"asm": {"group_id": 1, "groups_to_display": list(range(26))}}, "asm.groups_to_display"),
        ({"ip_pool_name": "p" * 65}, "ip_pool_name"),
    ],
)
def test_a_wrong_mail_is_refused_by_the_field_that_is_wrong(changes, field):
    assert fields(good(**changes)) == [field]


def test_a_wrong_type_is_said_in_the_words_of_json():
    (error,) = judged(good(subject=5))

    assert error.message == "Invalid type. Expected: string, given: integer."


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"subject": "' + b"\xc3" + b'"}'])
def test_a_body_that_is_no_json_is_a_bad_request(body):
    (error,) = read_mail(body, now=NOW)

    assert error.message == "Bad Request"


def test_everything_wrong_is_said_at_once_up_to_a_limit():
    assert len(fields({})) > 2
    assert len(fields(good(personalizations=[to("wrong")] * 500))) == ERRORS_TOLD
