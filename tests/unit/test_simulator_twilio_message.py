"""A message that Twilio would refuse is refused with its code."""

import pytest

from backroom.simulator.twilio import delivery_of, wrong


def good(**changes):
    return {"To": "+4915112345678", "From": "+15005550006", "Body": "Hello", **changes}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"Body": "a" * 1600}, 0),
        ({"Body": "", "MediaUrl": "https://example.com/a.png"}, 0),
        ({"From": "12345"}, 0),
        ({"From": "Backroom"}, 0),
        ({"From": "", "MessagingServiceSid": "MG" + "0" * 32}, 0),
        ({"ValidityPeriod": "36000"}, 0),
        ({"StatusCallback": "http://127.0.0.1:8000/v1/reports/twilio?delivery=d-1#rc=3&rt=5000"}, 0),
        ({"To": ""}, 21604),
        ({"To": "015112345678"}, 21211),
        ({"To": "+0151"}, 21211),
        ({"To": "+49151123456789012"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "+1"}, 21212),
        ({"From": "much too long a name"}, 21212),
        ({"Body": ""}, 21602),
        ({"Body": "a" * 1601}, 21617),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": "soon"}, 21624),
        ({"StatusCallback": "example.com/report"}, 21609),
        ({"StatusCallback": "ftp://example.com/"}, 21609),
        ({"StatusCallback": "https://my_shop.example/"}, 21609),
        ({"StatusCallback": "https://[broken/"}, 21609),
        ({"StatusCallback": "https://example.com/" + "a" * 4000}, 21609),
    ],
)
def test_the_first_thing_that_is_wrong_decides(changes, code):
    assert wrong(good(**changes)) == code


@pytest.mark.parametrize(
    ("callback", "delivery"),
    [
        ("https://example.com/r?delivery=d-1", "d-1"),
        ("https://example.com/r?a=b&delivery=d-1#rc=2", "d-1"),
        ("https://example.com/r/delivery=d%2F1/x", "d/1"),
        ("https://example.com/r?redelivery=d-1", ""),
        ("https://example.com/r", ""),
        ("", ""),
    ],
)
def test_the_delivery_is_read_from_the_callback(callback, delivery):
    assert delivery_of(callback) == delivery
