"""The daily digest goes through the notification engine, once a day, and says why it shows what it shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from jobs.digest_send import SendDigests
from tests.house import TestHouse, until
from tests.integration.test_recommendations_items import WAIT, bought, learn, viewed

TODAY = datetime.now(UTC).date()


def digests(house: TestHouse, memory) -> list[tuple]:
    """Who was sent what."""
    query = "SELECT to_users ->> 0, data FROM notifications WHERE type = 'daily_digest' ORDER BY created_at, id"
    return memory.execute(query).fetchall()


def clock_asks(house: TestHouse, message: SendDigests, *, id: str) -> None:
    job = Shelves().job_for(SendDigests)
    post = Post(job=job.name, queue=job.queue, message=message, id=id)
    Sender(open_client(house.settings.redis_url), prefix=house.settings.key_prefix).send([post])
    until(lambda: house.queues().find(id)[0] == "done", what="the digests are written")


def shop(house: TestHouse, client, readers: list[str]) -> None:
    """A shop in which lamps go with bulbs, and each reader has viewed a lamp."""
    for reader in readers:
        profile = {"name": reader, "contacts": {"email": f"{reader}@example.com"}}
        assert client.put(f"/v1/users/{reader}", json=profile, headers=WAIT).status_code == 200
    crowd = [bought(f"u{n}", "lamp", "bulb", "shade") for n in range(3)] + [viewed(f"u{n}", "sofa") for n in range(3)]
    learn(house, client, crowd + [viewed(reader, "lamp") for reader in readers])


def test_a_reader_gets_one_digest_a_day_with_reasons(house: TestHouse):
    client = house.client()
    house.start_worker()
    shop(house, client, ["ann"])
    memory = house.owner()

    clock_asks(house, SendDigests(), id="tick-1")
    ((reader, data),) = until(lambda: digests(house, memory), what="the digest is a notification")
    first = {item["name"]: item for item in data["items"]}
    assert reader == "ann"
    assert data["about"] == "The lamp"
    assert len(first) >= 3
    assert first["The bulb"] == {
        "name": "The bulb",
        "price": 5.0,
        "currency": "EUR",
        "reason": {"kind": "bought_together", "because": "The lamp"},
    }

    # The clock's own tick, and somebody who asks by hand.
    clock_asks(house, SendDigests(), id="tick-2")
    assert client.post("/v1/digests", headers=WAIT).json()["state"] == "done"
    assert len(digests(house, memory)) == 1


def test_a_digest_fits_its_type_and_becomes_an_inbox_item(house: TestHouse):
    client = house.client()
    house.start_worker()
    shop(house, client, ["ann"])

    client.post("/v1/digests", headers=WAIT)

    items = until(lambda: client.get("/v1/users/ann/inbox").json()["items"], what="the digest is in the inbox")
    assert "The lamp" in items[0]["body"]


def test_without_enough_to_show_or_an_address_nothing_is_sent(house: TestHouse):
    client = house.client()
    house.start_worker()
    client.put("/v1/users/ann", json={"contacts": {"email": "ann@example.com"}}, headers=WAIT)
    client.put("/v1/users/bob", json={}, headers=WAIT)
    client.put("/v1/users/eve", json={"contacts": {"email": "eve@example.com"}}, headers=WAIT)
    learn(house, client, [viewed("ann", "lamp"), viewed("bob", "sofa"), viewed("eve", "lamp", days_ago=20)])

    answer = client.post("/v1/digests", headers=WAIT).json()

    assert answer == {"state": "done", "readers": 1, "sent": 0}
    assert digests(house, house.owner()) == []


def test_many_readers_are_gone_through_in_pages(house: TestHouse):
    client = house.client()
    house.start_worker()
    readers = [f"r{n}" for n in range(7)]
    shop(house, client, readers)
    memory = house.owner()

    clock_asks(house, SendDigests(app=house.app.id, limit=3), id="page-1")

    until(lambda: sorted(reader for reader, _ in digests(house, memory)) == readers, what="every reader has one")


def test_what_was_shown_and_not_looked_at_is_not_shown_again_soon(house: TestHouse):
    client = house.client()
    house.start_worker()
    shop(house, client, ["ann"])
    learn(house, client, [bought(f"w{n}", "lamp", *(f"extra{m}" for m in range(9))) for n in range(3)])
    memory = house.owner()

    def digest_of(day: date) -> set[str]:
        before = len(digests(house, memory))
        clock_asks(house, SendDigests(app=house.app.id, day=day), id=f"day-{day}")
        found = until(lambda: len(found := digests(house, memory)) > before and found, what="the day's digest")
        return {item["name"] for item in found[-1][1]["items"]}

    first = digest_of(TODAY)
    clicked = min(first - {"The lamp"})
    learn(house, client, [viewed("ann", clicked.removeprefix("The "), days_ago=0)])
    second = digest_of(TODAY + timedelta(days=1))

    assert first
    assert second
    assert not (first & second) - {clicked}


@pytest.mark.parametrize("key", ["write", "user", "none"])
def test_only_the_application_may_ask_for_digests(house: TestHouse, key: str):
    url = house.open_door()
    token = house.client(url).post("/v1/users/ann/tokens").json()["token"]
    keys = {"write": house.app.write_key.text, "user": token, "none": ""}

    assert house.client(url, key=keys[key]).post("/v1/digests").status_code in {401, 403}
