"""Magic recipients: who bounces, refuses, throttles, hangs or fails twice, whatever the letter says.

Every function here is pure: a recipient, with how often this delivery was seen before, decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backroom.simulator.letter import Outcome

# Twilio's own test numbers, with the code that each earns there.
NUMBER_INVALID: Final = "+15005550001"
NUMBER_UNROUTABLE: Final = "+15005550002"
NUMBER_REGION_OFF: Final = "+15005550003"
NUMBER_OPTED_OUT: Final = "+15005550004"
NUMBER_GOOD: Final = "+15005550006"
NUMBER_NOT_MOBILE: Final = "+15005550009"
# Our own, in the same unassigned exchange so that no reader's real number is magic by accident.
NUMBER_REFUSED: Final = "+15005559610"
NUMBER_LIMITED: Final = "+15005559429"
NUMBER_HANGS: Final = "+15005559408"
NUMBER_FLAKY: Final = "+15005559500"
NUMBER_UNKNOWN_HANDSET: Final = "+15005559005"

# An email address is magic by what stands before the `@` or the `+`, at any domain.
EMAIL_BOUNCES: Final = "bounce@example.com"
EMAIL_REFUSED: Final = "refuse@example.com"
EMAIL_LIMITED: Final = "limit@example.com"
EMAIL_HANGS: Final = "hang@example.com"
EMAIL_FLAKY: Final = "flaky@example.com"
EMAIL_GOOD: Final = "delivered@example.com"

# Keys that are wrong, so that a broken account can be tried, too.
KEY_REVOKED: Final = "revoked"
KEY_WITHOUT_SCOPE: Final = "noscope"

OPTED_OUT: Final = 21610
UNKNOWN_HANDSET: Final = 30005
TOO_MANY_REQUESTS: Final = 20429
SERVER_ERROR: Final = 20500
FLAKY_FAILURES: Final = 2
LIMITED_TIMES: Final = 1


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What happens to a letter.

    Attributes:
        outcome: What becomes of it.
        code: Twilio's error code, or 0.
    """

    outcome: Outcome
    code: int = 0


@dataclass(frozen=True, slots=True)
class Magic:
    """One row of the table that the page and the docs show.

    Attributes:
        recipient: The address or number.
        outcome: What becomes of its letters in the end.
        over_http: What SendGrid or Twilio answer.
        over_smtp: What the SMTP server answers; empty for a number.
    """

    recipient: str
    outcome: Outcome
    over_http: str
    over_smtp: str = ""


ADDRESSES: Final = (
    Magic(EMAIL_GOOD, Outcome.DELIVERED, "202, like any other address", "250"),
    Magic(EMAIL_BOUNCES, Outcome.BOUNCED, "202, and the letter bounces", "550 5.1.1 to RCPT"),
    Magic(EMAIL_REFUSED, Outcome.REFUSED, "400", "554 5.7.1"),
    Magic(EMAIL_LIMITED, Outcome.LIMITED, "429 with Retry-After: 1 once, then 202", "451 4.7.1 once, then 250"),
    Magic(EMAIL_FLAKY, Outcome.FAILED, "500 twice, then 202", "451 4.3.0 twice, then 250"),
    Magic(EMAIL_HANGS, Outcome.UNANSWERED, "no answer within a minute, though the letter went out", "the same"),
)

NUMBERS: Final = (
    Magic(NUMBER_GOOD, Outcome.DELIVERED, "201, like any other number"),
    Magic(NUMBER_INVALID, Outcome.REFUSED, "400, code 21211: not a valid number"),
    Magic(NUMBER_UNROUTABLE, Outcome.REFUSED, "400, code 21612: no route from this sender"),
    Magic(NUMBER_REGION_OFF, Outcome.REFUSED, "400, code 21408: region not enabled"),
    Magic(NUMBER_OPTED_OUT, Outcome.REFUSED, "400, code 21610: opted out"),
    Magic(NUMBER_NOT_MOBILE, Outcome.REFUSED, "400, code 21614: not a mobile number"),
    Magic(NUMBER_REFUSED, Outcome.REFUSED, "400, code 21610: opted out"),
    Magic(NUMBER_LIMITED, Outcome.LIMITED, "429, code 20429, with Retry-After: 1 once, then 201"),
    Magic(NUMBER_FLAKY, Outcome.FAILED, "500 twice, then 201"),
    Magic(NUMBER_HANGS, Outcome.UNANSWERED, "no answer within a minute, though the letter went out"),
    Magic(NUMBER_UNKNOWN_HANDSET, Outcome.BOUNCED, "201, then undelivered with code 30005: unknown handset"),
)

_REFUSED_NUMBERS: Final = {
    NUMBER_INVALID: 21211,
    NUMBER_UNROUTABLE: 21612,
    NUMBER_REGION_OFF: 21408,
    NUMBER_OPTED_OUT: OPTED_OUT,
    NUMBER_NOT_MOBILE: 21614,
    NUMBER_REFUSED: OPTED_OUT,
}


def of_address(address: str, *, seen: int) -> Behaviour:
    """What happens to an email.

    Args:
        address: Its recipient.
        seen: How often this delivery came for this recipient before.
    """
    local = address.rpartition("@")[0].partition("+")[0].casefold()
    match local:
        case "bounce":
            return Behaviour(Outcome.BOUNCED)
        case "refuse":
            return Behaviour(Outcome.REFUSED)
        case "hang":
            return Behaviour(Outcome.UNANSWERED)
        case "limit" if seen < LIMITED_TIMES:
            return Behaviour(Outcome.LIMITED)
        case "flaky" if seen < FLAKY_FAILURES:
            return Behaviour(Outcome.FAILED)
        case _:
            return Behaviour(Outcome.DELIVERED)


def of_number(number: str, *, seen: int) -> Behaviour:
    """What happens to an SMS.

    Args:
        number: Its recipient in E.164.
        seen: How often this delivery came for this recipient before.
    """
    if code := _REFUSED_NUMBERS.get(number):
        return Behaviour(Outcome.REFUSED, code)
    if number == NUMBER_UNKNOWN_HANDSET:
        return Behaviour(Outcome.BOUNCED, UNKNOWN_HANDSET)
    if number == NUMBER_HANGS:
        return Behaviour(Outcome.UNANSWERED)
    if number == NUMBER_LIMITED and seen < LIMITED_TIMES:
        return Behaviour(Outcome.LIMITED, TOO_MANY_REQUESTS)
    if number == NUMBER_FLAKY and seen < FLAKY_FAILURES:
        return Behaviour(Outcome.FAILED, SERVER_ERROR)
    return Behaviour(Outcome.DELIVERED)
