"""Records, written through a real door, a real queue and a real worker."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from backroom.queue.open import base, open_client
from tests.house import TestHouse, free_port, until

WAIT = {"Prefer": "wait=10"}


def user_client(house: TestHouse, url: str, user: str, app: httpx.Client) -> httpx.Client:
    token = app.post(f"/v1/users/{user}/tokens").raise_for_status().json()["token"]
    return house.client(url, key=token)


def test_a_record_is_created_replaced_read_and_deleted(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()

    created = client.put("/v1/records/notes/one", json={"text": "hello"}, headers=WAIT)
    replaced = client.put("/v1/records/notes/one", json={"text": "again"}, headers=WAIT)
    read = client.get("/v1/records/notes/one")
    unchanged = client.get("/v1/records/notes/one", headers={"If-None-Match": read.headers["ETag"]})
    deleted = client.delete("/v1/records/notes/one", headers=WAIT)

    assert (created.status_code, created.headers["ETag"]) == (201, '"1"')
    assert created.headers["Preference-Applied"] == "wait=10"
    assert created.headers["Location"] == "/v1/records/notes/one"
    assert (replaced.status_code, replaced.headers["ETag"]) == (200, '"2"')
    assert (read.status_code, read.json()["value"], read.headers["ETag"]) == (200, {"text": "again"}, '"2"')
    assert read.headers["Cache-Control"] == "private, no-cache"
    assert read.headers["Vary"] == "Authorization"
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", '"2"')
    assert deleted.status_code == 204
    assert client.get("/v1/records/notes/one").status_code == 404


def test_who_does_not_wait_is_told_later_where_to_ask(house: TestHouse) -> None:
    client = house.client()

    accepted = client.put("/v1/records/notes/one", json={"text": "hello"}, headers={"If-None-Match": "*"})
    location = accepted.headers["Location"]
    before = client.get(location)
    house.start_worker()
    after = until(lambda: (found := client.get(location)).json()["state"] == "done" and found)

    assert (accepted.status_code, accepted.json()["state"]) == (202, "accepted")
    assert location == f"/v1/operations/{accepted.json()['id']}"
    assert (before.status_code, before.json()["state"]) == (200, "accepted")
    assert (after.json()["status"], after.json()["version"]) == (201, 1)


def test_an_outcome_that_is_kept_is_told_without_the_queue(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    location = client.put("/v1/records/notes/one", json={"n": 1}).headers["Location"]
    until(lambda: client.get(location).json()["state"] == "done")

    without = house.client(house.open_door(redis_url=f"redis://127.0.0.1:{free_port()}"))

    assert without.get(location).json()["status"] == 201


def test_a_repetition_has_the_first_ones_outcome_long_after_it_was_told(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    writes = ({"Idempotency-Key": "1", "If-None-Match": "*"}, {"Idempotency-Key": "2", "If-Match": '"7"'})
    first = [client.put("/v1/records/notes/one", json={"n": 1}, headers={**write, **WAIT}) for write in writes]
    valkey = open_client(house.settings.redis_url)
    told = list(valkey.scan_iter(f"{base(house.settings.key_prefix)}answer:*"))
    valkey.delete(*told)

    again = [client.put("/v1/records/notes/one", json={"n": 1}, headers={**write, **WAIT}) for write in writes]

    assert len(told) == 2
    assert [answer.status_code for answer in again] == [answer.status_code for answer in first] == [201, 412]
    assert [answer.json() for answer in again] == [answer.json() for answer in first]
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in again)


def test_a_wait_that_ends_too_soon_answers_202_and_the_write_goes_on(house: TestHouse) -> None:
    client = house.client()

    accepted = client.put("/v1/records/notes/one", json={"text": "hello"}, headers={"Prefer": "wait=1"})
    house.start_worker()

    assert accepted.status_code == 202
    assert "Preference-Applied" not in accepted.headers
    assert until(lambda: client.get("/v1/records/notes/one").status_code == 200)


def test_a_failed_condition_is_answered_with_what_is_there(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    client.put("/v1/records/notes/one", json={"text": "first"}, headers=WAIT)

    stale = client.put("/v1/records/notes/one", json={"text": "mine"}, headers={**WAIT, "If-Match": '"7"'})
    taken = client.put("/v1/records/notes/one", json={"text": "mine"}, headers={**WAIT, "If-None-Match": "*"})
    absent = client.put("/v1/records/notes/two", json={"text": "mine"}, headers={**WAIT, "If-Match": "*"})
    right = client.put("/v1/records/notes/one", json={"text": "mine"}, headers={**WAIT, "If-Match": '"7", "1"'})

    for failed in (stale, taken):
        assert failed.headers["Preference-Applied"] == "wait=10"
        assert (failed.status_code, failed.headers["ETag"]) == (412, '"1"')
        assert failed.headers["Content-Type"] == "application/problem+json"
        assert failed.json()["current"] == {"version": 1, "value": {"text": "first"}}
    assert (absent.status_code, absent.json()["current"]) == (412, None)
    assert "ETag" not in absent.headers
    assert (right.status_code, right.headers["ETag"]) == (200, '"2"')


def test_a_record_that_comes_back_goes_on_counting(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    first = client.put("/v1/records/notes/one", json={"n": 1}, headers=WAIT)
    client.delete("/v1/records/notes/one", headers=WAIT)

    back = client.put("/v1/records/notes/one", json={"n": 1}, headers={**WAIT, "If-None-Match": "*"})
    late = client.put("/v1/records/notes/one", json={"n": 2}, headers={**WAIT, "If-Match": first.headers["ETag"]})
    gone = client.delete("/v1/records/notes/never", headers=WAIT)

    assert (back.status_code, back.headers["ETag"]) == (201, '"3"')
    assert late.status_code == 412
    assert gone.status_code == 404


def test_of_many_who_hold_the_same_version_exactly_one_wins(house: TestHouse) -> None:
    house.start_worker()
    house.start_worker()
    url = house.open_door()
    house.client(url).put("/v1/records/game/save", json={"by": None}, headers=WAIT).raise_for_status()

    async def race() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {house.app.secret_key.text}", "If-Match": '"1"', **WAIT}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            return await asyncio.gather(
                *(client.put("/v1/records/game/save", json={"by": number}) for number in range(100))
            )

    answers = asyncio.run(race())
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    client = house.client(url)
    done = [
        until(lambda one=one: (found := client.get(f"/v1/operations/{one}").json())["state"] == "done" and found)
        for one in accepted
    ]
    statuses = [answer.status_code for answer in answers if answer.status_code != 202] + [one["status"] for one in done]

    assert sorted(statuses) == [200] + [412] * 99
    assert client.get("/v1/records/game/save").json()["version"] == 2


def test_each_version_has_one_winner_when_everybody_tries_again(house: TestHouse) -> None:
    house.start_worker()
    house.start_worker()
    url = house.open_door()
    house.client(url).put("/v1/records/game/score", json={"points": 0}, headers=WAIT).raise_for_status()

    async def add_one(client: httpx.AsyncClient) -> None:
        current = (await client.get("/v1/records/game/score")).json()
        while True:
            answer = await client.put(
                "/v1/records/game/score",
                json={"points": current["value"]["points"] + 1},
                headers={**WAIT, "If-Match": f'"{current["version"]}"'},
            )
            if answer.status_code == 200:
                return
            assert answer.status_code == 412
            current = answer.json()["current"]

    async def race() -> None:
        headers = {"Authorization": f"Bearer {house.app.secret_key.text}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            await asyncio.gather(*(add_one(client) for _ in range(12)))

    asyncio.run(race())

    read = house.client(url).get("/v1/records/game/score").json()
    assert (read["value"], read["version"]) == ({"points": 12}, 13)


def test_writes_of_one_key_happen_in_the_order_they_were_accepted(house: TestHouse) -> None:
    client = house.client()
    for number in range(120):
        accepted = client.put(f"/v1/records/log/{number % 3}", json={"n": number})
        assert accepted.status_code == 202

    house.start_worker()
    house.start_worker()
    until(lambda: [client.get(f"/v1/records/log/{key}").status_code for key in range(3)] == [200] * 3)

    def values() -> list[tuple[int, int]]:
        read = [client.get(f"/v1/records/log/{key}").json() for key in range(3)]
        return [(record["version"], record["value"]["n"]) for record in read]

    assert until(lambda: (found := values()) == [(40, 117), (40, 118), (40, 119)] and found)


def test_what_is_wrong_is_said_at_the_door(house: TestHouse) -> None:
    client = house.client()

    large = client.put("/v1/records/notes/one", json={"text": "x" * 70_000})
    announced = client.put("/v1/records/notes/one", content=b"x" * 200_000)
    nul = client.put("/v1/records/notes/one", json={"a": ["\x00"]})
    array = client.put("/v1/records/notes/one", json=[1])
    broken = client.put("/v1/records/notes/one", content=b"{")
    name = client.put("/v1/records/Notes/one", json={})
    deep: object = {}
    for _ in range(70):
        deep = {"a": deep}
    nested = client.put("/v1/records/notes/one", json=deep)

    assert (large.status_code, large.json()["size_bytes"], large.json()["limit_bytes"]) == (413, 70_011, 65_536)
    assert "70011" in large.json()["detail"]
    assert "65536" in large.json()["detail"]
    assert (announced.status_code, announced.json()["size_bytes"]) == (413, 200_000)
    assert (nul.status_code, nul.json()["errors"][0]["field"]) == (422, "/a/0")
    assert array.status_code == 422
    assert broken.status_code == 400
    assert (name.status_code, name.json()["errors"][0]["field"]) == (422, "/collection")
    assert (nested.status_code, nested.json()["errors"][0]["wrong"]) == (422, "is nested too deep")


@pytest.mark.parametrize(
    "headers",
    [{"If-Match": "3"}, {"If-Match": ""}, {"If-None-Match": '"3"'}, {"If-Match": '"1"', "If-None-Match": "*"}],
)
def test_a_condition_that_cannot_be_read_is_refused(house: TestHouse, headers: dict[str, str]) -> None:
    refused = house.client().put("/v1/records/notes/one", json={}, headers=headers)

    assert refused.status_code == 400
    assert refused.json()["code"] == "bad-condition"


def test_a_list_goes_by_keys_in_pages(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    keys = ["Zoë", "a", "a b", "b", "c", "ä"]
    for key in keys:
        client.put(f"/v1/records/things/{key}", json={"key": key}, headers=WAIT).raise_for_status()
    client.put("/v1/records/things/gone", json={}, headers=WAIT).raise_for_status()
    client.delete("/v1/records/things/gone", headers=WAIT).raise_for_status()

    pages = [client.get("/v1/records/things", params={"limit": 4})]
    while "next" in pages[-1].links:
        pages.append(client.get(pages[-1].links["next"]["url"]))

    assert [len(page.json()["records"]) for page in pages] == [4, 2]
    assert pages[1].json()["next"] is None
    assert [record["key"] for page in pages for record in page.json()["records"]] == sorted(keys)
    assert client.get("/v1/records/things", params={"after": "!"}).status_code == 422
    assert client.get("/v1/records/nothing").json() == {"records": [], "next": None}


def test_anothers_record_is_not_there(house: TestHouse) -> None:
    house.start_worker()
    url = house.open_door()
    app = house.client(url)
    anna, ben = user_client(house, url, "anna", app), user_client(house, url, "ben", app)
    other = house.client(url, key=house.another_app().secret_key.text)
    written = anna.put("/v1/records/notes/mine", json={"secret": 1}, headers=WAIT)
    later = anna.put("/v1/records/notes/later", json={"secret": 1})

    never = ben.get("/v1/records/notes/never")
    strangers = [
        ben.get("/v1/records/notes/mine"),
        ben.get("/v1/records/notes/mine", params={"owner": "anna"}),
        other.get("/v1/records/notes/mine"),
        other.get("/v1/records/notes/mine", params={"owner": "anna"}),
        app.get("/v1/records/notes/mine"),
        ben.delete("/v1/records/notes/mine", headers=WAIT),
        ben.put("/v1/records/notes/mine", params={"owner": "anna"}, json={}),
        ben.get(later.headers["Location"]),
        other.get(later.headers["Location"]),
    ]
    bens = ben.put("/v1/records/notes/mine", json={"own": 2}, headers={**WAIT, "If-None-Match": "*"})

    assert written.status_code == 201
    assert {answer.status_code for answer in strangers} == {404}
    assert {answer.content for answer in strangers} == {never.content}
    assert bens.status_code == 201
    assert ben.get("/v1/records/notes").json()["records"][0]["value"] == {"own": 2}
    assert other.get("/v1/records/notes").json()["records"] == []
    assert anna.get("/v1/records/notes/mine").json()["value"] == {"secret": 1}
    assert app.get("/v1/records/notes/mine", params={"owner": "anna"}).json()["value"] == {"secret": 1}
    assert house.client(url, key="").get("/v1/records/notes/mine").status_code == 401
    assert house.client(url, key=house.app.write_key.text).get("/v1/records/notes/mine").status_code == 403
    assert json.loads(anna.get("/v1/records/notes/mine").content)["version"] == 1


def test_a_write_with_an_idempotency_key_that_is_sent_again_is_the_same_write(house: TestHouse) -> None:
    house.start_worker()
    url = house.open_door()
    client = house.client(url)
    anna = user_client(house, url, "anna", client)
    once = {"Idempotency-Key": "click 1", "If-None-Match": "*"}

    first = client.put("/v1/records/notes/one", json={"n": 1}, headers={**once, **WAIT})
    again = client.put("/v1/records/notes/one", json={"n": 1}, headers={**once, **WAIT})
    later = client.put("/v1/records/notes/one", json={"n": 1}, headers=once)
    other = client.put("/v1/records/notes/one", json={"n": 2}, headers=once)
    annas = anna.put("/v1/records/notes/one", json={"n": 3}, headers={**once, **WAIT})

    assert (first.status_code, first.headers["ETag"]) == (201, '"1"')
    assert (again.status_code, again.headers["ETag"]) == (201, '"1"')
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.get(later.headers["Location"]).json()["status"] == 201
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert annas.status_code == 201
    assert client.get("/v1/records/notes/one").json()["version"] == 1
