"""What may please a user, from what many people did together."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from tests.house import TestHouse, until

WAIT = {"Prefer": "wait=10"}
NOW = datetime.now(UTC)


def product(item: str, **more) -> dict:
    return {"product_id": item, "name": f"The {item}", "category": f"of {item}", "price": 5, "currency": "EUR", **more}


def viewed(person: str, item: str, *, days_ago: float = 1, **more) -> dict:
    return act(person, "Product Viewed", product(item, **more), days_ago=days_ago)


def bought(person: str, *items: str, days_ago: float = 1) -> dict:
    return act(person, "Order Completed", {"products": [product(item) for item in items]}, days_ago=days_ago)


def act(person: str, name: str, properties: dict, *, days_ago: float) -> dict:
    who = {"anonymousId": person} if person.startswith("visitor") else {"userId": person}
    at = NOW - timedelta(days=days_ago)
    return {"type": "track", "event": name, "properties": properties, "timestamp": at.isoformat(), **who}


def learn(house: TestHouse, client, events: list[dict]) -> None:
    """Send events, and have it found out what goes together."""
    memory = house.owner()
    query = "SELECT count(*) FROM events WHERE app_id = %s"
    before = memory.execute(query, [house.app.id]).fetchone()[0]
    for at in range(0, len(events), 1_000):
        assert client.post("/v1/batch", json={"batch": events[at : at + 1_000]}).json() == {"success": True}
    until(lambda: memory.execute(query, [house.app.id]).fetchone()[0] == before + len(events), what="they are recorded")
    assert client.post("/v1/insights/refresh", headers=WAIT).json()["state"] == "done"


def shown(client, user: str, **asked) -> list[tuple]:
    items = client.get(f"/v1/users/{user}/recommendations", params=asked).json()["items"]
    return [(one["item"], one["reason"]["kind"], (one["reason"]["because"] or {}).get("item")) for one in items]


def test_what_others_bought_with_it_is_shown_with_the_reason(house: TestHouse):
    client = house.client()
    house.start_worker()

    learn(
        house,
        client,
        [*(bought(f"u{n}", "lamp", "bulb") for n in range(3)), viewed("ann", "lamp"), bought("u9", "chair", "table")],
    )

    (first, *others) = client.get("/v1/users/ann/recommendations").json()["items"]
    assert first == {
        "item": "bulb",
        "name": "The bulb",
        "price": 5.0,
        "currency": "EUR",
        "url": None,
        "reason": {"kind": "bought_together", "because": {"item": "lamp", "name": "The lamp"}},
    }
    # Bought together by one person only is no pair, but it is something others had to do with.
    assert {other["reason"]["kind"] for other in others} == {"popular"}


def test_what_somebody_bought_is_not_shown_to_them(house: TestHouse):
    client = house.client()
    house.start_worker()

    learn(house, client, [*(bought(f"u{n}", "lamp", "bulb") for n in range(3)), bought("ann", "lamp", "bulb")])

    assert shown(client, "ann") == []


def test_somebody_new_is_shown_what_is_popular(house: TestHouse):
    client = house.client()
    house.start_worker()

    learn(house, client, [viewed(f"u{n}", "lamp") for n in range(4)] + [viewed(f"u{n}", "sofa") for n in range(3)])

    assert shown(client, "stranger") == [("lamp", "popular", None), ("sofa", "popular", None)]
    assert shown(client, "stranger", limit=1) == [("lamp", "popular", None)]


def test_of_a_category_at_most_two_are_shown(house: TestHouse):
    client = house.client()
    house.start_worker()

    learn(house, client, [viewed(f"u{n}", item, category="lamps") for item in "abcd" for n in range(3)])

    assert len(shown(client, "stranger")) == 2


def test_what_a_user_did_before_signing_in_counts_also_for_the_users_own_token(house: TestHouse):
    url = house.open_door()
    client = house.client(url)
    house.start_worker()
    token = client.post("/v1/users/ann/tokens").json()["token"]

    learn(house, client, [*(bought(f"u{n}", "lamp", "bulb") for n in range(3)), viewed("visitor-1", "lamp")])
    assert "popular" in {kind for _, kind, _ in shown(client, "ann")}
    client.post("/v1/identify", json={"anonymousId": "visitor-1", "userId": "ann"})
    until(lambda: house.owner().execute("SELECT 1 FROM identities").fetchone(), what="the visitor is ann")

    assert shown(client, "ann")[0] == ("bulb", "bought_together", "lamp")
    assert shown(house.client(url, key=token), "ann") == shown(client, "ann")


def test_recommendations_are_for_the_application_and_the_user_only(house: TestHouse):
    other = house.another_app()
    url = house.open_door()
    client = house.client(url)
    house.start_worker()
    learn(house, client, [viewed("ann", "lamp"), viewed("bob", "lamp")])
    token = client.post("/v1/users/bob/tokens").json()["token"]

    assert shown(client, "ann")
    assert shown(house.client(url, key=other.secret_key.text), "ann") == []
    assert house.client(url, key=token).get("/v1/users/ann/recommendations").status_code == 404
    assert house.client(url, key=token).post("/v1/insights/refresh").status_code == 403
    assert house.client(url, key=house.app.write_key.text).get("/v1/users/ann/recommendations").status_code == 403


def test_pairs_are_the_cosine_of_the_people_that_two_items_share(house: TestHouse):
    client = house.client()
    house.start_worker()
    chance = random.Random(7)
    baskets = [(f"u{n % 40}", sorted({f"i{chance.randrange(25)}" for _ in range(4)})) for n in range(90)]

    # One order is too old to count.
    learn(house, client, [bought(who, *items) for who, items in baskets] + [bought("u1", "i1", "i2", days_ago=120)])

    people, together = defaultdict(set), Counter()
    for who, items in baskets:
        for item in items:
            people[item].add(who)
    for one, other in itertools.permutations(people, 2):
        together[one, other] = len(people[one] & people[other])
    expected = {
        pair: (n, round(n / math.sqrt(len(people[pair[0]]) * len(people[pair[1]])), 9))
        for pair, n in together.items()
        if n >= 2
    }
    found = (
        house.owner().execute("SELECT item, other, together, score FROM item_pairs WHERE kind = 'bought'").fetchall()
    )
    assert {(item, other): (n, round(score, 9)) for item, other, n, score in found} == expected

    # Found out again, it is the same.
    client.post("/v1/insights/refresh", headers=WAIT)
    assert house.owner().execute("SELECT count(*) FROM item_pairs WHERE kind = 'bought'").fetchone() == (len(expected),)


def test_before_anything_is_known_the_answer_says_what_to_do(house: TestHouse):
    answer = house.client().get("/v1/users/ann/recommendations").json()

    assert answer["items"] == []
    assert "/v1/track" in answer["says"]
