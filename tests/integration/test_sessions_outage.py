"""Sessions while one of the engines is away."""

from __future__ import annotations

import asyncio

import httpx
import psycopg

from tests.house import TestHouse, free_port, until
from tests.integration.test_sessions_state import CURRENT, begin, lose_hot_copies, rows


def close_database(house: TestHouse) -> None:
    """Nobody can connect to the test's database any more, and who is connected is not."""
    server, _, name = house.database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def test_without_postgresql_hot_sessions_go_on_and_cold_ones_say_503(house: TestHouse) -> None:
    client = house.client()
    worker = house.start_worker()
    hot, cold = begin(client, state={"is": "hot"}), begin(client, state={"is": "cold"})
    until(lambda: len(rows(house)) == 2)
    worker.stop()
    lose_hot_copies(house)
    assert client.get(CURRENT, headers=hot).status_code == 200

    close_database(house)
    changed = client.put(CURRENT, headers=hot, json={"is": "hot", "n": 2})
    read = client.get(CURRENT, headers=hot)
    missing = client.get(CURRENT, headers=cold)

    assert (changed.status_code, read.json()["state"]) == (200, {"is": "hot", "n": 2})
    assert (missing.status_code, missing.json()["code"]) == (503, "store-away")
    assert missing.headers["Retry-After"]


def test_without_valkey_the_door_says_503(house: TestHouse) -> None:
    client = house.client(house.open_door(redis_url=f"redis://127.0.0.1:{free_port()}"))

    for answer in (
        client.post("/v1/sessions", json={}),
        client.get(CURRENT, headers={"Session-Token": "A" * 43}),
        client.delete(CURRENT, headers={"Session-Token": "A" * 43}),
        client.put("/v1/records/notes/one", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "queue-away")
        assert answer.headers["Retry-After"]


def test_a_crowd_at_one_door_is_served(house: TestHouse) -> None:
    url = house.open_door()
    session = begin(house.client(url), state={"n": 1})

    async def crowd() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {house.app.secret_key.text}", **session}
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as client:
            return await asyncio.gather(*(client.get(CURRENT) for _ in range(300)))

    assert {answer.status_code for answer in asyncio.run(crowd())} == {200}
