"""An engine goes away under a running door and a running worker, and comes back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text

from backroom.domain.errors import StoreAway
from backroom.embedded import Engines
from backroom.shelf import TEMPLATES
from backroom.store.admin import create_application
from backroom.store.engine import LONGER, PATIENCE, open_engine
from backroom.store.migrate import upgrade
from backroom.store.view import View
from tests.house import SECRET, TestHouse, settings_for, until

EXAMPLE = json.loads((TEMPLATES / "order_shipped" / "example.json").read_text())


@pytest.fixture
def mortal(reachable_home: Path) -> Iterator[Engines]:
    """Engines of the test's own, which it may kill. Not the fast ones: those forget what they had not written yet."""
    engines = Engines(reachable_home)
    engines.start()
    yield engines
    engines.stop()


@pytest.fixture
def house(mortal: Engines, tmp_path: Path) -> Iterator[TestHouse]:
    assert mortal.valkey
    assert mortal.postgres
    upgrade(mortal.postgres.url)
    house = TestHouse(
        settings=settings_for(redis_url=mortal.valkey.url, database_url=mortal.postgres.url, home=tmp_path),
        app=create_application(mortal.postgres.url, name="shop", secret=SECRET.encode()),
    )
    yield house
    house.close()


def kill(engines: Engines, name: str) -> None:
    engine = getattr(engines, name)
    os.kill(engine.pid, signal.SIGKILL)
    until(lambda: name in engines.ended(), what=f"{name} has ended")


def post(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/notifications", json={"type": "order_shipped", "to": ["ada"], "data": EXAMPLE})


@pytest.fixture
def client(house: TestHouse) -> httpx.Client:
    client = house.client()
    house.start_worker()
    contacts = {"email": "ada@example.com"}
    done = client.put("/v1/users/ada", json={"contacts": contacts}, headers={"Prefer": "wait=10"})
    assert done.status_code == 200
    return client


def test_without_valkey_the_door_says_503_and_serves_again_without_a_restart(mortal, client):
    kill(mortal, "valkey")

    answer = post(client)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert client.get("/readyz").status_code == 503
    assert client.get("/v1/users/ada").status_code == 200, "reads that need only PostgreSQL go on"
    mortal.revive("valkey")
    accepted = until(lambda: (found := post(client)).status_code == 202 and found, what="the door accepts again")
    until(
        lambda: client.get(accepted.headers["Location"]).json()["state"] == "settled",
        what="the same worker works again",
    )


def test_without_postgresql_accepting_goes_on_and_everything_accepted_is_delivered_later(mortal, client):
    kill(mortal, "postgres")

    accepted = [post(client) for _ in range(20)]

    assert [answer.status_code for answer in accepted] == [202] * 20
    reading = client.get("/v1/users/ada")
    assert reading.status_code == 503
    assert reading.headers["Retry-After"]
    assert client.get("/readyz").json()["status"] == "degraded"
    mortal.revive("postgres")
    for answer in accepted:
        until(
            lambda location=answer.headers["Location"]: settled(client, location),
            within=60,
            what="what was accepted meanwhile is delivered",
        )


def test_while_postgresql_hangs_accepting_goes_on_quickly_and_reads_say_503(mortal, client):
    assert post(client).status_code == 202
    hanging = postgres_processes(mortal)
    try:
        for process in hanging:
            process.suspend()
        # As many as there are readers, and more: their threads hang, and must not take the door with them.
        with ThreadPoolExecutor(12) as threads:
            reads = [threads.submit(client.get, "/v1/users/ada") for _ in range(12)]
            accepted = [post(client) for _ in range(5)]
            ready = client.get("/readyz").json()
            answers = [read.result() for read in reads]
    finally:
        for process in hanging:
            process.resume()

    assert [answer.status_code for answer in accepted] == [202] * 5
    assert (ready["queue"]["up"], ready["memory"]["up"]) == (True, False)
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "store-away")}
    for answer in accepted:
        until(lambda location=answer.headers["Location"]: settled(client, location), within=60, what="it is delivered")


def test_a_worker_waits_for_what_may_take_longer(database_url):
    engine = open_engine(database_url, door="backroom_worker", connect_timeout=timedelta(seconds=2), connections=1)
    with engine.begin() as connection:
        connection.execute(LONGER)
        (allowed,) = connection.execute(text("SELECT current_setting('statement_timeout')::interval")).one()
    engine.dispose()

    assert PATIENCE["backroom_worker"] > allowed > timedelta(minutes=1)


def test_a_server_that_says_nothing_is_given_up_by_the_client(mortal, monkeypatch):
    monkeypatch.setitem(PATIENCE, "backroom_door", timedelta(milliseconds=300))
    upgrade(mortal.postgres.url)
    engine = open_engine(mortal.postgres.url, door="backroom_door", connect_timeout=timedelta(seconds=2), connections=1)
    view = View(engine)
    view.ready()
    hanging = postgres_processes(mortal)
    try:
        for process in hanging:
            process.suspend()
        with pytest.raises(StoreAway):
            view.ready()
    finally:
        for process in hanging:
            process.resume()

    until(lambda: answers(view), what="the next question has a connection of its own")
    engine.dispose()


def answers(view: View) -> bool:
    try:
        view.ready()
    except StoreAway:
        return False
    return True


def postgres_processes(engines: Engines) -> list[psutil.Process]:
    """The server and one process for each connection."""
    assert engines.postgres
    server = psutil.Process(engines.postgres.pid)
    return [server, *server.children(recursive=True)]


def settled(client: httpx.Client, location: str) -> bool:
    answer = client.get(location)
    return answer.status_code == 200 and answer.json()["state"] == "settled"
