"""What happened, as a client tells it and as we keep it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from backroom.domain.errors import Invalid
from backroom.domain.event import AHEAD, BEHIND, Event, Said, may_merge, read_event, when, without_query
from backroom.domain.item import MOST_AMOUNT, MOST_ITEMS, items_of, touches_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def read(*, kind: str = "track", **said: Any) -> Event:
    document = {"userId": "ann", "event": "Seen", **said}
    return read_event(msgspec.convert(document, Said), kind=kind, received_at=NOW, new_id="new")


def order(**properties: Any) -> Event:
    return read(event="Order Completed", properties=properties)


@pytest.mark.parametrize(
    ("sent", "original", "expected", "clamped"),
    [
        (None, None, NOW, False),
        (None, NOW - timedelta(hours=1), NOW - timedelta(hours=1), False),
        # The client's clock is a day fast, and so are both of its times.
        (NOW + timedelta(days=1), NOW + timedelta(days=1, minutes=-2), NOW - timedelta(minutes=2), False),
        (NOW - timedelta(days=900), NOW - timedelta(days=900, seconds=9), NOW - timedelta(seconds=9), False),
        (NOW, NOW + timedelta(hours=1), NOW + AHEAD, True),
        (NOW, NOW - timedelta(days=4_000), NOW - BEHIND, True),
        (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), NOW, True),
    ],
)
def test_a_time_by_a_wrong_clock_is_put_right(
    *, sent: datetime | None, original: datetime | None, expected: datetime, clamped: bool
):
    assert when(received_at=NOW, sent_at=sent, original_at=original) == (expected, clamped)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"userId": None}, "/userId"),
        ({"userId": " "}, "/userId"),
        ({"userId": "x" * 201}, "/userId"),
        ({"event": None}, "/event"),
        ({"event": "  "}, "/event"),
        ({"event": "x" * 201}, "/event"),
        ({"messageId": "x" * 101}, "/messageId"),
        ({"kind": "dance"}, "/type"),
        ({"kind": "alias"}, "/previousId"),
    ],
)
def test_a_wrong_field_is_named(said: dict[str, Any], field: str):
    with pytest.raises(Invalid) as refused:
        read(**said)

    assert refused.value.field == field


def test_an_alias_names_who_the_user_was_before():
    event = read(kind="alias", previousId="visitor", anonymousId=None)

    assert (event.user, event.anonymous) == ("ann", "visitor")


def test_an_event_keeps_its_id_and_gets_one_where_it_has_none():
    assert read(messageId="own").id == "own"
    assert read().id == read(messageId="").id == "new"


@pytest.mark.parametrize(
    "anonymous",
    ["", " ", "ann", "undefined", "ANONYMOUS", "Guest", "null", "None", "NaN", "0", "[object Object]", "true"],
)
def test_an_id_that_is_nobodys_is_never_merged(anonymous: str):
    assert not may_merge(anonymous, user="ann")
    assert may_merge("visitor", user="ann")
    assert not may_merge("visitor", user="null")


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3::4", "2001:db8:1::"),
        ("nonsense", ""),
        (7_000_000_000_000_000_000_000_000_000_000_000_000_000_000, ""),
    ],
)
def test_of_an_address_only_the_network_is_kept(address: object, kept: str):
    assert read(context={"ip": address}).context["ip"] == kept


def test_a_page_keeps_its_path_and_no_query():
    told = {
        "url": "https://shop.example/a/b?token=1#x",
        "referrer": "https://search.example/?q=1",
        "search": "?token=1",
    }

    assert without_query(told) == {
        "url": "https://shop.example/a/b", "referrer": "https://search.example/", "path": "/a/b",
    }  # fmt: skip
    assert without_query({"url": "https://shop.example"})["path"] == "/"
    assert without_query({"url": 7, "path": "/x?y"}) == {"url": 7, "path": "/x"}


def test_an_order_says_what_was_bought_and_lines_about_one_thing_are_one():
    event = order(
        products=[
            {"product_id": "a", "price": "2.50", "quantity": 2},
            {"product_id": "a", "price": 2.5},
            {"sku": 7, "price": "free", "quantity": -3},
            {"name": "nameless id"},
            "not a product",
        ]
    )

    assert [(touch.item, touch.quantity, touch.amount) for touch in touches_of(event)] == [
        ("a", 3, Decimal("7.50")), ("7", 1, Decimal(0)),
    ]  # fmt: skip


def test_a_view_is_about_one_thing_and_costs_nothing():
    (touch,) = touches_of(read(event="product viewed", properties={"product_id": "a", "price": 9}))

    assert (touch.kind, touch.item, touch.amount) == ("viewed", "a", Decimal(0))
    assert touches_of(read(event="Product Shared", properties={"product_id": "a"})) == []


@pytest.mark.parametrize("number", [1e300, float("nan"), float("inf"), -1, True, [], "1e9", "٣", "9" * 40])
def test_a_number_that_is_none_counts_for_nothing(number: object):
    (touch,) = touches_of(order(products=[{"product_id": "a", "price": number, "quantity": number}]))

    assert (touch.quantity, touch.amount) == (1, Decimal(0))


def test_no_order_is_too_large_to_be_counted():
    line = {"product_id": "a", "price": 1_000_000_000, "quantity": 1_000_000}

    (touch,) = touches_of(order(products=[line] * (MOST_ITEMS + 5)))

    assert touch.amount == MOST_AMOUNT


def test_what_is_said_about_an_item_is_kept_where_it_is_sound():
    (item,) = items_of(
        order(
            currency="eur", products=[{"product_id": "a", "name": " Lamp ", "price": 2, "url": "javascript:alert(1)"}]
        )
    )

    assert (item.name, item.price, item.currency, item.url) == ("Lamp", Decimal("2.00"), "EUR", "")
