"""The customers of the demo: their profiles, and the few whose letters go wrong."""

from __future__ import annotations

import hashlib
from typing import Any

from backroom.cli._demo_countries import place_of
from backroom.cli._demo_orders import Order
from backroom.simulator import magic

ADMINISTRATOR = "demo-administrator"
# Most leave a number, some do not want to.
PHONES_IN_TEN = 6
# Reserved for films, so it is nobody's, also where a demo is sent for real: the last three digits are free.
FILM_NUMBER = "+447700900"
# Of each hundred customers one has each of these.
MAGIC_ADDRESSES = ("flaky", "limit", "refuse", "bounce")
MAGIC_NUMBERS = (magic.NUMBER_FLAKY, magic.NUMBER_LIMITED, magic.NUMBER_REFUSED, magic.NUMBER_UNKNOWN_HANDSET)
# Each parks a thread of a worker until the carrier's time-out, so there are two; guests, who have one order each.
HANGING_GUESTS = frozenset({3, 17})

GIVEN = ("Ada", "Alan", "Amina", "Carlos", "Chiara", "Elena", "Emil", "Grace", "Hana", "Jonas", "Lena", "Mateo", "Zoe")
FAMILY = ("Adler", "Baker", "Costa", "Dubois", "Ek", "Fischer", "Huber", "Ito", "Jensen", "Novak", "Okafor", "Rossi")


def profile(order: Order, *, guest: int, magical: bool) -> dict[str, Any]:
    """The customer of an order, as `PUT /v1/users/{id}` takes it: the same one each time.

    Args:
        order: The order; its customer's number decides about name, addresses and failures.
        guest: Which guest it is, 1 is the first; 0 for a customer with an account.
        magical: Whether some letters may go wrong.
    """
    user, place = order.user, place_of(order.country)
    dice = int.from_bytes(hashlib.sha256(user.encode()).digest()[:8])
    hundredth, dice = dice % 100, dice // 100
    local, phone = user, ""
    if (dice := dice // 7) % 10 < PHONES_IN_TEN:
        phone = f"{FILM_NUMBER}{dice // 10 % 1_000:03d}"
    if magical and guest in HANGING_GUESTS:
        local, phone = f"hang+{user}", ""
    elif magical and hundredth < len(MAGIC_ADDRESSES):
        local = f"{MAGIC_ADDRESSES[hundredth]}+{user}"
    elif magical and hundredth < len(MAGIC_ADDRESSES) + len(MAGIC_NUMBERS):
        phone = MAGIC_NUMBERS[hundredth - len(MAGIC_ADDRESSES)]
    return {
        "name": f"{GIVEN[dice // 11 % len(GIVEN)]} {FAMILY[dice // 13 % len(FAMILY)]}",
        "locale": place.locale,
        "time_zone": place.zone,
        "contacts": {"email": f"{local}@example.com"} | ({"phone": phone} if phone else {}),
        "attributes": {"country": order.country, "demo": True} | ({} if order.customer else {"guest": True}),
    }


def administrator() -> dict[str, Any]:
    """Who hears about the alerts of the demo."""
    return {
        "name": "Night Porter",
        "locale": "en-GB",
        "time_zone": "Europe/London",
        "contacts": {"email": f"{ADMINISTRATOR}@example.com"},
        "administrator": True,
    }
