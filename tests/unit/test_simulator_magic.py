"""Magic recipients decide what becomes of a letter, whatever it says."""

import pytest

from backroom.simulator import magic
from backroom.simulator.letter import Outcome
from backroom.simulator.magic import Behaviour, of_address, of_number


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        (magic.EMAIL_GOOD, Outcome.DELIVERED),
        (magic.EMAIL_BOUNCES, Outcome.BOUNCED),
        (magic.EMAIL_REFUSED, Outcome.REFUSED),
        (magic.EMAIL_HANGS, Outcome.UNANSWERED),
    ],
)
@pytest.mark.parametrize("seen", [0, 1, 5])
def test_most_magic_addresses_do_the_same_every_time(address, outcome, seen):
    assert of_address(address, seen=seen) == Behaviour(outcome)


@pytest.mark.parametrize("address", ["bounce@shop.example", "BOUNCE@example.org", "bounce+ada@example.com"])
def test_an_address_is_magic_at_any_domain_and_with_anything_after_a_plus(address):
    assert of_address(address, seen=0).outcome is Outcome.BOUNCED


@pytest.mark.parametrize(
    "address", ["bouncer@example.com", "ada+bounce@example.com", "ada@bounce.example", "nobody", ""]
)
def test_an_address_that_only_resembles_a_magic_one_is_like_any_other(address):
    assert of_address(address, seen=0).outcome is Outcome.DELIVERED


def test_a_limited_recipient_waits_once_and_a_flaky_one_fails_twice():
    def outcomes(of, recipient):
        return [of(recipient, seen=seen).outcome for seen in range(4)]

    limited = [Outcome.LIMITED, *[Outcome.DELIVERED] * 3]
    flaky = [*[Outcome.FAILED] * 2, *[Outcome.DELIVERED] * 2]
    assert outcomes(of_address, magic.EMAIL_LIMITED) == outcomes(of_number, magic.NUMBER_LIMITED) == limited
    assert outcomes(of_address, magic.EMAIL_FLAKY) == outcomes(of_number, magic.NUMBER_FLAKY) == flaky


@pytest.mark.parametrize(
    ("number", "behaviour"),
    [
        (magic.NUMBER_GOOD, Behaviour(Outcome.DELIVERED)),
        (magic.NUMBER_INVALID, Behaviour(Outcome.REFUSED, 21211)),
        (magic.NUMBER_UNROUTABLE, Behaviour(Outcome.REFUSED, 21612)),
        (magic.NUMBER_REGION_OFF, Behaviour(Outcome.REFUSED, 21408)),
        (magic.NUMBER_OPTED_OUT, Behaviour(Outcome.REFUSED, 21610)),
        (magic.NUMBER_REFUSED, Behaviour(Outcome.REFUSED, 21610)),
        (magic.NUMBER_NOT_MOBILE, Behaviour(Outcome.REFUSED, 21614)),
        (magic.NUMBER_HANGS, Behaviour(Outcome.UNANSWERED)),
        (magic.NUMBER_UNKNOWN_HANDSET, Behaviour(Outcome.BOUNCED, 30005)),
        ("+4915112349429", Behaviour(Outcome.DELIVERED)),
    ],
)
def test_a_magic_number_earns_its_code_and_a_real_one_never_does(number, behaviour):
    assert of_number(number, seen=0) == behaviour


def test_the_table_says_what_the_functions_do():
    for row in magic.ADDRESSES:
        assert of_address(row.recipient, seen=0).outcome is row.outcome
    for row in magic.NUMBERS:
        decided = of_number(row.recipient, seen=0)
        assert decided.outcome is row.outcome
        if row.outcome is Outcome.REFUSED:
            assert str(decided.code) in row.over_http
