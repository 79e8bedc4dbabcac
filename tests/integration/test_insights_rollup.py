"""What many people did is counted exactly, however events come in and however often it is counted."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from jobs.events_rollup import RollUpEvents
from tests.house import TestHouse, until

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
SPAN = {"from": DAY.date().isoformat(), "to": DAY.date().isoformat()}


def tick(house: TestHouse, *, app: str | None = None) -> None:
    """What the clock has done for an application every minute, and wait until it is done."""
    job = Shelves().job_for(RollUpEvents)
    message = RollUpEvents(app=house.app.id if app is None else app)
    post = Post(job=job.name, queue=job.queue, message=message, id=f"tick-{random.random()}")
    Sender(open_client(house.settings.redis_url), prefix=house.settings.key_prefix).send([post])
    queues = house.queues()
    until(lambda: queues.find(post.id)[0] == "done", what="it is counted")


def send(house: TestHouse, client, events: list[dict]) -> None:
    """Send events, and wait until they are recorded."""
    memory, query = house.owner(), "SELECT count(*) FROM events WHERE message_id = ANY(%s)"
    ids = list({event["messageId"] for event in events})
    for at in range(0, len(events), 500):
        assert client.post("/v1/batch", json={"batch": events[at : at + 500]}).json() == {"success": True}
    until(lambda: memory.execute(query, [ids]).fetchone()[0] == len(ids), what="they are recorded")


def event(n: int | str, at: datetime, *, kind: str = "track", person: str = "ann", **more) -> dict:
    return {"type": kind, "messageId": f"e{n}", "userId": person, "timestamp": at.isoformat(), **more}


def test_searches_are_counted_by_what_was_meant_and_empty_ones_beside(house: TestHouse):
    client = house.client()
    house.start_worker()
    said = [
        ("Red  Lamp", 3, "ann"),
        ("red lamp ", 0, "bob"),
        (" RED LAMP", 3, "ann"),
        ("chair", 1, "ann"),
        ("  ", 1, "bob"),
    ]

    send(
        house,
        client,
        [
            event(n, DAY, person=who, event="Products Searched", properties={"query": query, "results": results})
            for n, (query, results, who) in enumerate(said)
        ],
    )
    tick(house)

    assert client.get("/v1/insights/searches", params=SPAN).json()["rows"] == [
        {"query": "red lamp", "count": 3, "people": 2, "without_results": 1},
        {"query": "chair", "count": 1, "people": 1, "without_results": 0},
    ]


def test_time_on_a_page_is_the_gap_to_the_next_one_and_unknown_is_not_zero(house: TestHouse):
    client = house.client()
    house.start_worker()
    noon = DAY + timedelta(hours=12)
    midnight = DAY + timedelta(days=1)

    send(
        house,
        client,
        [
            event(1, noon, kind="page", properties={"path": "/a"}),
            event(2, noon + timedelta(seconds=40), kind="page", properties={"path": "/b"}),
            # Another visitor's pages do not end the time on ann's.
            event(3, noon + timedelta(seconds=5), kind="page", person="bob", properties={"path": "/a"}),
            # Back after an hour: how long /b was looked at is not known.
            event(4, noon + timedelta(hours=1), kind="page", properties={"path": "/a"}),
            # What a page measured itself is better than a gap.
            event(
                5, noon + timedelta(hours=1, seconds=20), kind="page", properties={"path": "/c", "engagement_ms": 1500}
            ),
            event(
                6, noon + timedelta(hours=1, seconds=50), kind="page", properties={"path": "/d", "engagement_ms": "x"}
            ),
            # A visit goes on over midnight.
            event(7, midnight - timedelta(seconds=10), kind="page", person="eve", properties={"path": "/late"}),
            event(8, midnight + timedelta(seconds=20), kind="page", person="eve", properties={"path": "/later"}),
        ],
    )
    tick(house)

    found = {row.pop("page"): row for row in client.get("/v1/insights/pages", params=SPAN).json()["rows"]}
    assert found == {
        "/a": {"count": 3, "people": 2, "mean_seconds": 30.0, "time_known_for": 0.667},
        "/b": {"count": 1, "people": 1, "mean_seconds": None, "time_known_for": 0.0},
        "/c": {"count": 1, "people": 1, "mean_seconds": 1.5, "time_known_for": 1.0},
        "/d": {"count": 1, "people": 1, "mean_seconds": None, "time_known_for": 0.0},
        "/late": {"count": 1, "people": 1, "mean_seconds": 30.0, "time_known_for": 1.0},
    }


def test_purchases_and_views_are_counted_with_what_was_paid(house: TestHouse):
    client = house.client()
    house.start_worker()
    lamp = {"product_id": "lamp", "name": "Lamp", "price": 10.5}
    chair = {"product_id": "chair", "name": "Chair", "price": "20"}

    send(
        house,
        client,
        [
            event(
                1, DAY, event="Order Completed", properties={"total": 45, "products": [lamp | {"quantity": 2}, chair]}
            ),
            event(2, DAY, person="bob", event="Order Completed", properties={"total": "\u0663", "products": [lamp]}),
            event(3, DAY, event="Product Viewed", properties=chair),
            event(4, DAY, event="Product Viewed", properties=chair | {"price": "not said"}),
            event(5, DAY, event="Order Completed", properties={"total": 1e300, "products": [{"price": 4}, "x", None]}),
        ],
    )
    tick(house)

    bought = client.get("/v1/insights/purchases", params=SPAN).json()
    assert bought["rows"] == [
        {"item": "lamp", "name": "Lamp", "count": 2, "people": 2, "quantity": 3, "amount": 31.5},
        {"item": "chair", "name": "Chair", "count": 1, "people": 1, "quantity": 1, "amount": 20.0},
    ]
    # The order without a readable total counts with its lines.
    assert bought["orders"] == {"count": 3, "people": 2, "amount": 55.5}
    viewed = client.get("/v1/insights/views", params=SPAN).json()
    assert viewed["rows"] == [{"item": "chair", "name": "Chair", "count": 2, "people": 1}]


def test_what_a_visitor_did_before_signing_in_is_the_same_persons(house: TestHouse):
    client = house.client()
    house.start_worker()
    page = {"type": "page", "timestamp": DAY.isoformat(), "properties": {"path": "/"}}

    send(house, client, [page | {"messageId": "1", "anonymousId": "v"}, page | {"messageId": "2", "userId": "ann"}])
    tick(house)
    apart = client.get("/v1/insights/pages", params=SPAN).json()["rows"][0]["people"]
    send(house, client, [{"type": "identify", "messageId": "3", "anonymousId": "v", "userId": "ann"}])
    tick(house)
    together = client.get("/v1/insights/pages", params=SPAN).json()["rows"][0]["people"]

    assert (apart, together) == (2, 1)


def test_counts_are_exact_after_late_and_repeated_events_and_after_counting_again(house: TestHouse):
    client = house.client()
    house.start_worker()
    chance = random.Random(4)
    views = [
        (f"p{chance.randrange(9)}", f"u{chance.randrange(20)}", DAY + timedelta(minutes=chance.randrange(1440)))
        for _ in range(1_500)
    ]
    events = [
        event(n, at, person=who, event="Product Viewed", properties={"product_id": item})
        for n, (item, who, at) in enumerate(views)
    ]
    count, people = Counter(item for item, _, _ in views), defaultdict(set)
    for item, who, _ in views:
        people[item].add(who)

    send(house, client, events[:700])
    tick(house)
    # Late ones, beside some that were sent before, while a day is being counted.
    counting = threading.Thread(target=tick, args=(house,))
    counting.start()
    send(house, client, events[600:])
    counting.join()
    tick(house)
    tick(house)

    rows = client.get("/v1/insights/views", params=SPAN).json()["rows"]
    assert {row["item"]: (row["count"], row["people"]) for row in rows} == {
        item: (count[item], len(people[item])) for item in count
    }
    assert client.get("/v1/insights/views", params=SPAN).json()["days_waiting_to_be_counted"] == 0


def test_before_there_is_anything_an_answer_says_what_to_do(house: TestHouse):
    client = house.client()

    for name in ("searches", "pages", "views", "purchases"):
        answer = client.get(f"/v1/insights/{name}").json()
        assert answer["rows"] == []
        assert "/v1/" in answer["says"]

    house.start_worker()
    send(house, client, [event(1, datetime.now(UTC), kind="page", properties={"path": "/"})])
    waiting = client.get("/v1/insights/pages").json()
    assert waiting["days_waiting_to_be_counted"] >= 1
    assert "within a minute" in waiting["says"]


def test_the_clock_has_every_application_counted_on_its_own(house: TestHouse):
    other = house.another_app()
    url = house.open_door()
    house.start_worker()
    clients = [house.client(url), house.client(url, key=other.secret_key.text)]
    for n, client in enumerate(clients):
        send(house, client, [event(n, DAY, kind="page", properties={"path": "/"})])

    tick(house, app="")

    for client in clients:
        until(lambda: client.get("/v1/insights/pages", params=SPAN).json()["rows"], what="it is counted")  # noqa: B023


def test_insights_are_the_applications_own(house: TestHouse):
    other = house.another_app()
    url = house.open_door()
    house.start_worker()
    client = house.client(url)
    send(house, client, [event(1, DAY, kind="page", properties={"path": "/"})])
    tick(house)
    token = client.post("/v1/users/ann/tokens").json()["token"]

    assert client.get("/v1/insights/pages", params=SPAN).json()["rows"]
    assert house.client(url, key=other.secret_key.text).get("/v1/insights/pages", params=SPAN).json()["rows"] == []
    assert house.client(url, key=token).get("/v1/insights/pages").status_code == 403
    assert house.client(url, key=house.app.write_key.text).get("/v1/insights/pages").status_code == 403
    assert house.client(url, key="").get("/v1/insights/pages").status_code == 401


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "yesterday"}, "/from"),
        ({"to": "2026-13-01"}, "/to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "/from"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "/from"),
        ({"limit": "0"}, "/limit"),
    ],
)
def test_a_wrong_question_names_the_field(house: TestHouse, asked: dict[str, str], field: str):
    answer = house.client().get("/v1/insights/pages", params=asked)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
