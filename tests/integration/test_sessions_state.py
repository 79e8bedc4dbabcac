"""Sessions, through a real door, the hot copy in a real Valkey and the memory in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from backroom.queue.open import base, open_client
from tests.house import TestHouse, until

CURRENT = "/v1/sessions/current"
MERGE = "application/merge-patch+json"


def begin(client: httpx.Client, **body: Any) -> dict[str, str]:
    """A new session's header."""
    answer = client.post("/v1/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return {"Session-Token": answer.json()["token"]}


def rows(house: TestHouse) -> list[dict[str, Any]]:
    import psycopg.rows

    with house.owner().cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute("SELECT * FROM sessions ORDER BY created_at").fetchall()


def lose_hot_copies(house: TestHouse) -> int:
    """What is left when Valkey comes back empty, as far as sessions can see."""
    client = open_client(house.settings.redis_url)
    keys = list(client.scan_iter(f"{base(house.settings.key_prefix)}hot:*"))
    return client.delete(*keys) if keys else 0


def test_what_was_written_is_read_back_at_once_without_any_worker(house: TestHouse) -> None:
    client = house.client()

    began = client.post("/v1/sessions", json={"user": "anna", "state": {"cart": ["book"], "theme": "dark"}})
    session = {"Session-Token": began.json()["token"]}
    read = client.get(CURRENT, headers=session)
    replaced = client.put(CURRENT, headers=session, json={"cart": ["book", "pen"], "theme": "dark"})
    patched = client.patch(CURRENT, headers=session | {"Content-Type": MERGE}, content=b'{"theme": null, "n": 1}')
    again = client.get(CURRENT, headers=session)
    known = client.get(CURRENT, headers=session | {"If-None-Match": again.headers["ETag"]})

    assert (began.status_code, began.headers["ETag"], began.headers["Cache-Control"]) == (201, '"1"', "no-store")
    assert len(session["Session-Token"]) == 43
    assert (read.json()["user"], read.json()["state"]) == ("anna", {"cart": ["book"], "theme": "dark"})
    assert (replaced.status_code, replaced.headers["ETag"]) == (200, '"2"')
    assert (patched.status_code, patched.json()["version"]) == (200, 3)
    assert again.json()["state"] == {"cart": ["book", "pen"], "n": 1}
    assert again.headers["Vary"] == "Authorization, Session-Token"
    assert "token" not in again.json()
    assert (known.status_code, known.content) == (304, b"")


def test_a_session_survives_the_loss_of_the_hot_copy(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    session = begin(client, state={"cart": ["book"]})
    client.put(CURRENT, headers=session, json={"cart": ["book", "pen"]}).raise_for_status()
    until(lambda: [row["version"] for row in rows(house)] == [2])

    assert lose_hot_copies(house) == 1
    read = client.get(CURRENT, headers=session)
    patched = client.patch(CURRENT, headers=session | {"Content-Type": MERGE, "If-Match": '"2"'}, content=b'{"a": 1}')

    assert (read.status_code, read.json()["state"], read.headers["ETag"]) == (200, {"cart": ["book", "pen"]}, '"2"')
    assert (patched.status_code, patched.json()["version"]) == (200, 3)
    assert until(lambda: [row["version"] for row in rows(house)] == [3])


def test_only_the_hash_of_a_token_is_kept_anywhere(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    token = begin(client, state={"a": 1})["Session-Token"]
    until(lambda: rows(house))

    (row,) = rows(house)
    valkey = open_client(house.settings.redis_url)
    keys = list(valkey.scan_iter(f"{base(house.settings.key_prefix)}*"))
    stored = repr([valkey.dump(key) for key in keys] + keys) + repr(row)

    assert row["token_hash"] == hashlib.sha256(token.encode()).hexdigest()
    assert token not in stored


def test_many_saves_of_one_session_become_few_updates_of_its_row(house: TestHouse) -> None:
    client = house.client()
    session = begin(client)
    owner = house.owner()
    owner.execute("CREATE TABLE seen_writes (version bigint)")
    owner.execute(
        "CREATE FUNCTION note_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$ BEGIN INSERT INTO public.seen_writes VALUES (NEW.version); RETURN NEW; END $$"
    )
    owner.execute("CREATE TRIGGER note AFTER INSERT OR UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION note_write()")
    for number in range(100):
        client.put(CURRENT, headers=session, json={"n": number}).raise_for_status()

    house.start_worker()
    until(lambda: [row["version"] for row in rows(house)] == [101])
    writes = [version for (version,) in owner.execute("SELECT version FROM seen_writes")]

    assert len(writes) <= 3
    assert rows(house)[0]["state"] == {"n": 99}


def test_changes_that_race_are_all_there_at_the_end(house: TestHouse) -> None:
    urls = [house.open_door(), house.open_door()]
    session = begin(house.client(urls[0]))

    async def race() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {house.app.secret_key.text}", "Content-Type": MERGE, **session}
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            return await asyncio.gather(
                *(
                    client.patch(urls[number % 2] + CURRENT, content=b'{"tab%d": %d}' % (number, number))
                    for number in range(100)
                )
            )

    answers = asyncio.run(race())
    read = house.client(urls[0]).get(CURRENT, headers=session).json()

    assert {answer.status_code for answer in answers} == {200}
    assert read["state"] == {f"tab{number}": number for number in range(100)}
    assert read["version"] == 101
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 102))


def test_a_change_of_another_version_is_refused_with_the_current_one(house: TestHouse) -> None:
    client = house.client()
    session = begin(client, state={"n": 1})
    client.put(CURRENT, headers=session, json={"n": 2}).raise_for_status()

    stale = client.put(CURRENT, headers=session | {"If-Match": '"1"'}, json={"n": 3})
    right = client.put(CURRENT, headers=session | {"If-Match": '"2"'}, json={"n": 3})

    assert (stale.status_code, stale.headers["ETag"]) == (412, '"2"')
    assert (stale.json()["current"]["version"], stale.json()["current"]["state"]) == (2, {"n": 2})
    assert right.status_code == 200


def test_another_applications_session_and_an_unknown_token_are_not_there(house: TestHouse) -> None:
    house.start_worker()
    url = house.open_door()
    client = house.client(url)
    session = begin(client, state={"n": 1})
    other = house.client(url, key=house.another_app().secret_key.text)
    unknown = {"Session-Token": "A" * 43}

    answers = [
        client.get(CURRENT, headers=unknown),
        client.put(CURRENT, headers=unknown, json={}),
        client.delete(CURRENT, headers=unknown),
        client.get(CURRENT, headers={"Session-Token": "short"}),
        other.get(CURRENT, headers=session),
        other.put(CURRENT, headers=session, json={}),
        other.patch(CURRENT, headers=session | {"Content-Type": MERGE}, content=b"{}"),
        other.delete(CURRENT, headers=session),
    ]
    until(lambda: rows(house))
    lose_hot_copies(house)
    answers += [other.get(CURRENT, headers=session), other.delete(CURRENT, headers=session)]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert client.get(CURRENT, headers=session).json()["state"] == {"n": 1}
    assert len(rows(house)) == 1
    token = client.post("/v1/users/anna/tokens").json()["token"]
    assert house.client(url, key=token).get(CURRENT, headers=session).status_code == 403
    assert house.client(url, key="").get(CURRENT, headers=session).status_code == 401


def test_what_is_wrong_is_said_at_the_door(house: TestHouse) -> None:
    client = house.client()
    session = begin(client, state={"text": "x" * 40_000})

    grown = client.patch(
        CURRENT, headers=session | {"Content-Type": MERGE}, content=b'{"more": "' + b"y" * 30_000 + b'"}'
    )
    plain = client.patch(CURRENT, headers=session, json={"a": 1})
    large = client.post("/v1/sessions", json={"state": {"text": "x" * 70_000}})
    preset = client.post("/v1/sessions", json={"preset": "forever"})
    long = client.post("/v1/sessions", json={"idle_seconds": 7_200, "lifetime_seconds": 3_600})
    short = client.post("/v1/sessions", json={"idle_seconds": 1})
    array = client.put(CURRENT, headers=session, json=[])

    assert (grown.status_code, grown.json()["limit_bytes"]) == (413, 65_536)
    assert grown.json()["size_bytes"] > 65_536
    assert (plain.status_code, plain.headers["Accept-Patch"]) == (415, MERGE)
    assert (large.status_code, large.json()["size_bytes"]) == (413, 70_011)
    assert preset.json()["errors"][0]["field"] == "/preset"
    assert long.json()["errors"][0]["field"] == "/idle_seconds"
    assert short.json()["errors"][0]["field"] == "/idle_seconds"
    assert array.status_code == 422
    assert client.get(CURRENT).json()["code"] == "no-session-token"


@pytest.mark.parametrize(("preset", "idle"), [("strict", 900), ("default", 1_800), ("remember", 2_592_000)])
def test_a_preset_says_how_long_a_session_lasts(house: TestHouse, preset: str, idle: int) -> None:
    client = house.client()

    assert client.get(CURRENT, headers=begin(client, preset=preset)).json()["idle_seconds"] == idle
