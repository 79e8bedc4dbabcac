"""The main job: from a POST at the door to a receipt from a carrier, and the answer to what became of it."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from backroom.simulator.run import Simulator
from jobs.notification_send import SendNotification
from tests.house import TestHouse, until
from tests.integration.test_records_once import post

ORDER = {
    "type": "order_shipped",
    "to": ["ada"],
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def client(house: TestHouse, simulator: Simulator) -> httpx.Client:
    house.start_worker(simulator_url=simulator.url, simulator_smtp_port=simulator.smtp_port)
    client = house.client()
    answer = client.put(
        "/v1/users/ada",
        json={
            "name": "Ada",
            "locale": "de-AT",
            "time_zone": "Europe/Vienna",
            "contacts": {"email": "ada@example.com", "phone": "+4366012345678"},
        },
        headers={"Prefer": "wait=10"},
    )
    assert answer.status_code == 200, answer.text
    return client


def example(client: httpx.Client, type: str = "order_shipped") -> dict:
    types = client.get("/v1/types").json()["types"]
    return next(kind["example"] for kind in types if kind["name"] == type)


def settled(client: httpx.Client, location: str) -> dict:
    def state() -> dict | None:
        found = client.get(location)
        assert found.status_code == 200, found.text
        return found.json() if found.json()["state"] == "settled" else None

    return until(state, what="the notification is settled")


def test_one_post_becomes_an_email_an_sms_and_an_inbox_item(client, simulator):
    posted = client.post("/v1/notifications", json={**ORDER, "data": example(client)})

    assert posted.status_code == 202, posted.text
    deliveries = {row["channel"]: row for row in settled(client, posted.headers["Location"])["deliveries"]}
    assert {channel: row["state"] for channel, row in deliveries.items()} == {
        "inbox": "delivered",
        "email": "sent",
        "sms": "sent",
    }
    assert all(row["attempts"] == 1 and row["provider_id"] for row in deliveries.values())
    (letter,) = simulator.letters(delivery=deliveries["email"]["id"])
    assert letter["to"] == "ada@example.com"
    inbox = client.get("/v1/users/ada/inbox").json()
    assert inbox["unread"] == 1
    assert inbox["items"][0]["notification"] == posted.json()["id"]


def test_an_inbox_item_is_read_once(client):
    posted = client.post("/v1/notifications", json={**ORDER, "data": example(client), "channels": ["inbox"]})
    settled(client, posted.headers["Location"])
    (item,) = client.get("/v1/users/ada/inbox").json()["items"]

    read = client.put(f"/v1/users/ada/inbox/{item['id']}/read", headers={"Prefer": "wait=10"})

    assert read.status_code == 200
    assert client.get("/v1/users/ada/inbox").json()["unread"] == 0


def test_the_same_key_and_body_is_the_same_notification(client):
    body = {**ORDER, "data": example(client), "idempotency_key": "order-1"}
    first = client.post("/v1/notifications", json=body)
    settled(client, first.headers["Location"])

    again = client.post("/v1/notifications", json=body)

    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = client.post("/v1/notifications", json={**body, "to": ["ada"], "channels": ["inbox"]})
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency-key-reused"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "order_shiped"}, "/type"),
        ({"to": ["adda"]}, "/to/0"),
        ({"to": []}, "/to"),
        ({"to": "ada"}, "/to"),
        ({"channels": ["emial"]}, "/channels/0"),
        ({"data": {}}, "/data"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_a_wrong_body_names_the_field(client, change, field):
    answer = client.post("/v1/notifications", json={**ORDER, "data": example(client), **change})

    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"].startswith(field)


def test_what_was_meant_is_suggested(client):
    mistyped = client.post("/v1/notifications", json={**ORDER, "type": "order_shiped", "data": {}})
    assert "order_shipped" in mistyped.json()["errors"][0]["right"]

    nobody = client.post("/v1/notifications", json={"type": "order_shipped", "to": ["adda"], "data": example(client)})
    assert "ada" in nobody.json()["errors"][0]["right"]


def test_a_user_that_was_just_accepted_can_be_told_at_once(house):
    client = house.client()  # no worker runs: the profile waits in the queue
    client.put("/v1/users/new", json={"contacts": {"email": "new@example.com"}})

    answer = client.post("/v1/notifications", json={"type": "order_shipped", "to": ["new"], "data": example(client)})

    assert answer.status_code == 202, answer.text
    waiting = client.get(answer.headers["Location"])
    assert waiting.json()["state"] == "accepted"


def test_a_notification_that_died_has_failed_and_says_nothing_of_the_inside(house, client):
    queues = house.queues()
    broken = SendNotification(app=house.app.id, type="no_such_type", to=["ada"], data={}, accepted_at=datetime.now(UTC))
    (id,) = post(house, broken)
    until(lambda: queues.find(id)[0] == "dead", what="it is among the dead letters")

    told = client.get(f"/v1/notifications/{id}").json()

    assert (told["state"], told["to"]) == ("failed", ["ada"])
    assert "no_such_type" not in told["reason"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(house):
    client = house.client(house.open_door(body_limit=2_000))

    answer = client.post("/v1/notifications", content=b"x" * 3_000)

    assert answer.status_code == 413
    assert answer.json()["limit_bytes"] == 2_000


def test_a_wrong_key_is_refused_without_a_hint(house):
    url = house.open_door()
    good = house.app.secret_key.text
    answers = [
        house.client(url, key=key).get("/v1/types") for key in ("", "nonsense", good[:-1] + "_", "br_live_x", "a.b.c")
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert len({answer.content for answer in answers}) == 1
