"""The shop that is made up, its customers, and what their website tells."""

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import available_timezones

import msgspec
import pytest

from backroom.cli._demo_countries import PLACES, place_of
from backroom.cli._demo_orders import Line, Order
from backroom.cli._demo_people import HANGING_GUESTS, profile
from backroom.cli._demo_play import bought, footprints, letter
from backroom.cli._demo_shop import COUNTRIES, Shop, Visit
from backroom.shelf import Shelves
from backroom.words import Words

DAY = datetime(2026, 11, 22, tzinfo=UTC)


def visits(*, seed: int = 1, users: int = 40, orders: int = 200) -> list[Visit]:
    return list(Shop(seed=seed, users=users, orders=orders, day=DAY).visits())


def an_order(*, customer: str = "77", country: str = "Germany", lines: int = 1) -> Order:
    line = Line(sku="A", name="Apple press", quantity=1, price=2.5)
    return Order(number="1", customer=customer, country=country, at=DAY, lines=(line,) * lines)


def test_the_same_seed_is_the_same_shop() -> None:
    assert visits() == visits()
    assert visits() != visits(seed=2)


def test_it_has_as_many_orders_as_were_asked_for_each_with_a_number_of_its_own() -> None:
    found = [visit.order for visit in visits() if visit.order]

    assert len(found) == 200
    assert len({order.number for order in found}) == 200


def test_another_number_of_orders_gives_orders_with_other_numbers() -> None:
    # The same number with other content would be taken for a change of what was sent before.
    few, many = ({visit.order.number for visit in visits(orders=count) if visit.order} for count in (20, 40))

    assert not few & many


def test_customers_buy_what_goes_together() -> None:
    tastes: dict[str, Counter[str]] = {}
    for visit in visits(users=10, orders=400):
        if visit.order and visit.order.customer:
            categories = (line.category for line in visit.order.lines)
            tastes.setdefault(visit.order.customer, Counter()).update(categories)

    for liked in tastes.values():
        favourites = sum(count for _, count in liked.most_common(2))
        assert favourites > 0.7 * liked.total()


def test_every_letter_fits_its_type() -> None:
    words = Words(Shelves().templates)

    for visit in visits():
        if visit.order:
            words.check("order_shipped", letter(visit.order)["data"])


def test_the_website_tells_pages_with_time_searches_and_views() -> None:
    told = [event for visit in visits() for event in footprints(visit)]

    names = Counter(event.get("event", event["type"]) for event in told)
    assert names["page"] > names["Product Viewed"] > names["Products Searched"] > 0
    assert all(event["properties"]["engagement_ms"] > 0 for event in told if event["type"] == "page")
    assert len({event["messageId"] for event in told}) == len(told)


def test_nothing_is_told_of_the_future() -> None:
    assert all(DAY <= visit.at < DAY.replace(day=23) for visit in visits())


def test_an_order_that_is_longer_than_an_event_says_how_much_is_missing() -> None:
    short, long = bought(an_order(lines=10), at=None), bought(an_order(lines=2_000), at=None)

    assert "cut" not in short
    assert len(long["properties"]["products"]) + sum(long["cut"].values()) == 2_000
    assert len(msgspec.json.encode(long)) < 32_768
    assert long["properties"]["total"] == 5_000, "what was paid is whole all the same"


def test_a_customer_is_the_same_one_each_time() -> None:
    assert profile(an_order(), guest=0, magical=True) == profile(an_order(), guest=0, magical=True)


def test_a_customer_reads_the_language_and_lives_by_the_clock_of_the_country() -> None:
    found = profile(an_order(country="Austria"), guest=0, magical=False)

    assert (found["locale"], found["time_zone"]) == ("de-AT", "Europe/Vienna")


def test_every_place_has_a_clock() -> None:
    assert {place.zone for place in PLACES.values()} <= available_timezones()
    assert set(COUNTRIES) <= set(PLACES)
    assert place_of("Unspecified") == place_of("United Kingdom")


def test_some_letters_go_wrong_and_most_do_not() -> None:
    people = [profile(an_order(customer=str(number)), guest=0, magical=True) for number in range(3_000)]

    emails = Counter(
        person["contacts"]["email"].partition("+")[0] for person in people if "+" in person["contacts"]["email"]
    )
    phones = [person["contacts"].get("phone", "") for person in people]
    assert set(emails) == {"flaky", "limit", "refuse", "bounce"}
    assert all(10 <= count <= 60 for count in emails.values())
    assert 50 < sum(phone.startswith("+1500555") for phone in phones) < 250
    assert sum(not phone for phone in phones) > 900


def test_only_two_guests_keep_a_carrier_waiting() -> None:
    people = [profile(an_order(customer=""), guest=guest, magical=True) for guest in range(1, 500)]

    assert sum(person["contacts"]["email"].startswith("hang+") for person in people) == len(HANGING_GUESTS) == 2


@pytest.mark.parametrize("guest", [0, *HANGING_GUESTS])
def test_real_carriers_get_only_addresses_that_are_nobodys(guest: int) -> None:
    for number in range(500):
        contacts = profile(an_order(customer=str(number)), guest=guest, magical=False)["contacts"]

        assert contacts["email"].endswith("@example.com")
        assert "+" not in contacts["email"]
        assert contacts.get("phone", "+447700900").startswith("+447700900")
