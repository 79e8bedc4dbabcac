"""Events come in as the libraries of the Segment family send them."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.house import TestHouse, until

PRODUCT = {"product_id": "p1", "name": "Lamp", "category": "light", "price": 12.5}


def rows(house: TestHouse, query: str, *values: object) -> list[tuple]:
    return house.owner().execute(query, values).fetchall()


def recorded(house: TestHouse, count: int) -> list[tuple]:
    """Wait until this many events are in the memory."""
    columns = "message_id, kind, name, user_id, anonymous_id, properties, at, received_at, clamped"
    memory, query = house.owner(), f"SELECT {columns} FROM events ORDER BY at"
    return until(
        lambda: len(found := memory.execute(query).fetchall()) >= count and found, what=f"{count} events are recorded"
    )


def test_a_tracked_event_is_answered_with_success_and_recorded(house: TestHouse):
    client = house.client()
    house.start_worker()

    answer = client.post("/v1/track", json={"userId": "ann", "event": "Product Viewed", "properties": PRODUCT})

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    ((message_id, kind, name, user, _, properties, *_),) = recorded(house, 1)
    assert (kind, name, user, properties) == ("track", "Product Viewed", "ann", PRODUCT)
    assert message_id
    assert rows(house, "SELECT item, kind, quantity FROM item_events") == [("p1", "viewed", 1)]
    assert rows(house, "SELECT name, category, price::float FROM items") == [("Lamp", "light", 12.5)]


@pytest.mark.parametrize("path", ["page", "screen", "identify", "group", "p", "i"])
def test_every_kind_of_event_has_its_path(house: TestHouse, path: str):
    client = house.client()
    house.start_worker()

    answer = client.post(f"/v1/{path}", json={"anonymousId": "visitor", "userId": "ann"})

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert recorded(house, 1)[0][1].startswith(path)


def test_a_write_key_may_come_in_any_of_three_ways(house: TestHouse):
    client, key = house.client(key=""), house.app.write_key.text
    house.start_worker()
    event = {"userId": "ann", "event": "Seen"}

    basic = client.post(
        "/v1/track", json=event, headers={"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    )
    bearer = client.post("/v1/track", json=event, headers={"Authorization": f"Bearer {key}"})
    # A beacon can set no header, and its body is text.
    beacon = client.post(
        "/v1/track", content=json.dumps(event | {"writeKey": key}), headers={"Content-Type": "text/plain"}
    )

    assert [answer.status_code for answer in (basic, bearer, beacon)] == [200, 200, 200]
    recorded(house, 3)


def test_without_a_good_key_nothing_is_taken(house: TestHouse):
    client = house.client(key="")
    event = {"userId": "ann", "event": "Seen"}

    answers = [
        client.post("/v1/track", json=event),
        client.post("/v1/track", json=event | {"writeKey": house.app.write_key.text[:-1] + "?"}),
        client.post("/v1/track", json=event, headers={"Authorization": "Basic nonsense"}),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all({"code", "message"} <= answer.json().keys() for answer in answers)


def test_a_message_id_counts_once_however_often_it_is_sent(house: TestHouse):
    client = house.client()
    event = {"type": "track", "userId": "ann", "event": "Order Completed", "messageId": "m-1"}
    event["properties"] = {"order_id": "1", "products": [PRODUCT | {"quantity": 2}]}

    # Twice in one batch, again beside another, and again once it is recorded.
    client.post("/v1/batch", json={"batch": [event, event]})
    client.post("/v1/batch", json={"batch": [event, event | {"messageId": "m-2"}]})
    house.start_worker()
    recorded(house, 2)
    client.post("/v1/track", json=event)
    client.post("/v1/track", json=event | {"messageId": "m-3"})

    assert {row[0] for row in recorded(house, 3)} == {"m-1", "m-2", "m-3"}
    assert rows(house, "SELECT count(*), sum(quantity), sum(amount)::float FROM item_events") == [(3, 6, 75.0)]


def test_another_application_may_use_the_same_message_id(house: TestHouse):
    other = house.another_app()
    url = house.open_door()
    house.start_worker()
    event = {"userId": "ann", "event": "Seen", "messageId": "m-1"}

    house.client(url).post("/v1/track", json=event)
    house.client(url, key=other.write_key.text).post("/v1/track", json=event)

    recorded(house, 2)
    assert rows(house, "SELECT count(DISTINCT app_id) FROM events") == [(2,)]


def test_a_wrong_clock_is_corrected_and_an_impossible_time_is_clamped(house: TestHouse):
    client = house.client()
    house.start_worker()
    now = datetime.now(UTC)
    fast = now + timedelta(hours=5)

    client.post(
        "/v1/batch",
        json={
            "sentAt": fast.isoformat(),
            "batch": [
                # Ten minutes before it was sent, by a clock that is five hours fast.
                {
                    "type": "page",
                    "anonymousId": "a",
                    "messageId": "skewed",
                    "timestamp": (fast - timedelta(minutes=10)).isoformat(),
                },
                {
                    "type": "page",
                    "anonymousId": "a",
                    "messageId": "future",
                    "timestamp": (fast + timedelta(days=9)).isoformat(),
                },
                {"type": "page", "anonymousId": "a", "messageId": "ancient", "timestamp": "0001-01-01T00:00:00Z"},
            ],
        },
    )

    found = {row[0]: row for row in recorded(house, 3)}
    at, received, clamped = found["skewed"][6:9]
    assert abs(received - at - timedelta(minutes=10)) < timedelta(seconds=1)
    assert not clamped
    assert found["future"][6] - found["future"][7] == timedelta(minutes=5)
    assert found["future"][8]
    assert found["ancient"][8]
    assert rows(house, "SELECT count(*) FROM events WHERE original_at IS NOT NULL AND sent_at IS NOT NULL") == [(3,)]


def test_what_is_wrong_in_a_batch_is_listed_and_the_rest_is_kept(house: TestHouse):
    client = house.client()
    house.start_worker()

    answer = client.post(
        "/v1/batch",
        json={
            "batch": [
                {"type": "track", "userId": "ann", "event": "Seen", "messageId": "good"},
                {"type": "track", "userId": "ann", "messageId": "nameless"},
                {"type": "dance", "userId": "ann"},
                {"type": "page"},
                {"type": "track", "userId": "ann", "event": "Seen", "properties": {"x": "y" * 40_000}},
                {"type": "track", "userId": "ann", "event": "Seen", "properties": {"x": "\0"}},
                {"type": "track", "userId": {"deep": 1}, "event": "Seen"},
            ]
        },
    )

    assert answer.status_code == 200
    told = answer.json()
    assert told["success"] is True
    assert told["accepted"] == 1
    assert [reject["index"] for reject in told["rejected"]] == [1, 2, 3, 4, 5, 6]
    places = ["1/event", "2/type", "3/userId", "4", "5/properties/x", "6/userId"]
    assert all(
        reject["field"].startswith(f"/batch/{place}") for reject, place in zip(told["rejected"], places, strict=True)
    )
    assert told["rejected"][0]["messageId"] == "nameless"
    assert [row[0] for row in recorded(house, 1)] == ["good"]


def test_a_faulty_request_is_refused_with_a_code_and_a_message(house: TestHouse):
    client = house.client()
    zipped = {"Content-Encoding": "gzip"}

    answers = [
        client.post("/v1/batch", content=b"{nonsense"),
        client.post("/v1/batch", json={"batch": []}),
        client.post("/v1/batch", json={"batch": [{}] * 2_501}),
        client.post("/v1/batch", json={"context": {"x": "y" * 9_000}, "batch": [{}]}),
        client.post("/v1/track", json={"userId": "ann"}),
        client.post("/v1/track", json={"userId": "ann", "event": "Seen", "messageId": "x" * 101}),
        client.post("/v1/batch", content=b"plain", headers=zipped),
        client.post("/v1/batch", content=gzip.compress(b"[]")[:-4], headers=zipped),
        client.post("/v1/batch", content=b"x" * 4_000_001),
        # Four kilobytes that would be four megabytes and one byte.
        client.post("/v1/batch", content=gzip.compress(b" " * 4_000_001), headers=zipped),
        client.post("/v1/batch", content=b"x", headers={"Content-Encoding": "br"}),
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 400, 400, 400, 400, 413, 413, 415]
    assert all(isinstance(answer.json()["code"], str) and answer.json()["message"] for answer in answers)


def test_a_zipped_batch_of_thousands_is_recorded_whole(house: TestHouse):
    client = house.client()
    house.start_worker()
    batch = [{"type": "track", "userId": f"u{n % 7}", "event": "Seen", "messageId": f"m{n}"} for n in range(2_500)]

    answer = client.post(
        "/v1/batch", content=gzip.compress(json.dumps({"batch": batch}).encode()), headers={"Content-Encoding": "gzip"}
    )

    assert answer.json() == {"success": True}
    assert len({row[0] for row in recorded(house, 2_500)}) == 2_500


def test_a_user_token_sends_its_own_events_only(house: TestHouse):
    client = house.client()
    house.start_worker()
    token = client.post("/v1/users/ann/tokens").json()["token"]
    ann = {"Authorization": f"Bearer {token}"}

    own = client.post("/v1/track", json={"anonymousId": "a", "event": "Seen"}, headers=ann)
    other = client.post("/v1/track", json={"userId": "bob", "event": "Seen"}, headers=ann)

    assert (own.status_code, other.status_code) == (200, 403)
    assert recorded(house, 1)[0][3] == "ann"


def test_a_visitor_becomes_one_user_and_never_a_second(house: TestHouse):
    client = house.client()
    house.start_worker()
    client.put("/v1/users/carl", json={"name": "Carl"}, headers={"Prefer": "wait=5"})

    for user, visitor in (("ann", "v1"), ("bob", "v1"), ("ann", "undefined"), ("ann", "carl"), ("bob", "ann")):
        client.post("/v1/identify", json={"userId": user, "anonymousId": visitor})
    client.post("/v1/alias", json={"userId": "ann", "previousId": "v2", "anonymousId": None})
    recorded(house, 6)

    assert rows(house, "SELECT anonymous_id, user_id FROM identities ORDER BY 1") == [("v1", "ann"), ("v2", "ann")]


def test_addresses_and_query_strings_are_not_kept(house: TestHouse):
    client = house.client()
    house.start_worker()

    client.post(
        "/v1/page",
        json={
            "anonymousId": "a",
            "properties": {"url": "https://shop.example/search?q=secret#part", "search": "?q=secret"},
            "context": {"ip": "203.0.113.77", "page": {"url": "https://shop.example/?token=secret"}},
        },
    )

    recorded(house, 1)
    ((kept,),) = rows(house, "SELECT properties::text || context::text FROM events")
    assert "secret" not in kept
    assert "203.0.113.77" not in kept
    assert "203.0.113.0" in kept
    assert '"path": "/search"' in kept


def test_a_browser_on_another_site_may_ask_and_send(house: TestHouse):
    client = house.client(key="")

    asked = client.options(
        "/v1/track", headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    )
    sent = client.post("/v1/track", json={"userId": "ann", "event": "Seen", "writeKey": house.app.write_key.text})
    refused = client.post("/v1/track", json={"userId": "ann", "writeKey": house.app.write_key.text})

    assert asked.status_code == 204
    assert {"Authorization", "Content-Type"} <= set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    assert [answer.headers["Access-Control-Allow-Origin"] for answer in (asked, sent, refused)] == ["*"] * 3


def test_while_the_queue_is_away_a_client_is_told_to_come_back(house: TestHouse):
    url = house.open_door(redis_url="redis://127.0.0.1:1/0")

    answer = house.client(url).post("/v1/track", json={"userId": "ann", "event": "Seen"})

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert isinstance(answer, httpx.Response)


def test_sign_ins_are_looked_at_once_for_each_few_seconds(house: TestHouse):
    client = house.client()
    house.start_worker()
    failed = {"type": "track", "userId": "ann", "event": "login.failed"}
    tries = [failed | {"properties": {"source": f"203.0.113.{n}", "account": "ann"}} for n in range(40)]

    client.post("/v1/batch", json={"batch": tries})
    recorded(house, 40)

    looks = until(lambda: house.queues().depths().get("alerts"), what="somebody is asked to look")
    assert looks.ready + looks.delayed + looks.inflight <= 2


def test_only_the_application_itself_is_believed_about_sign_ins(house: TestHouse):
    url = house.open_door()
    event = {"userId": "ann", "event": "login.failed", "properties": {"source": "203.0.113.7", "account": "ann"}}
    token = house.client(url).post("/v1/users/ann/tokens").json()["token"]

    answers = [
        house.client(url, key=key).post("/v1/track", json=event)
        for key in (house.app.write_key.text, token, house.app.secret_key.text)
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 200]
