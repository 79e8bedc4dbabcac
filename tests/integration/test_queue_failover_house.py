"""A whole house on engines of several nodes: door, session, worker and those who wait outlive the primary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backroom.store.admin import create_application
from tests.house import SECRET, TestHouse, settings_for, until
from tests.integration.queue_engines import Cluster, SentinelSet, Several, moved, running

PATIENCE = 60.0


@pytest.fixture(params=[SentinelSet, Cluster], ids=["sentinel", "cluster"])
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Several]:
    with running(request.param(tmp_path)) as several:
        yield several


@pytest.fixture
def house(several: Several, database_url: str, tmp_path: Path) -> Iterator[TestHouse]:
    settings = settings_for(redis_url=several.url, database_url=database_url, home=tmp_path, queue_timeout_ms=1_000)
    several.prefix = settings.key_prefix
    house = TestHouse(settings=settings, app=create_application(database_url, name="shop", secret=SECRET.encode()))
    yield house
    house.close()


def name(client: httpx.Client, user: str) -> httpx.Response:
    body = {"contacts": {"email": f"{user}@example.com"}}
    return client.put(f"/v1/users/{user}", json=body, headers={"Prefer": "wait=10"})


def test_a_house_says_503_while_there_is_no_primary_and_serves_again_by_itself(several: Several, house: TestHouse):
    client = house.client()
    house.start_worker()
    assert name(client, "ada").status_code == 200
    visitor = {"Session-Token": client.post("/v1/sessions", json={"state": {"basket": ["tea"]}}).json()["token"]}
    until(lambda: all(not depth.inflight for depth in house.queues().depths().values()), within=PATIENCE)
    assert several.replicated()
    old = several.primary()

    old.kill()

    seen = {answer.status_code for answer in (name(client, f"user{n}") for n in range(3))}
    assert seen <= {200, 202, 503}
    until(lambda: name(client, "grace").status_code == 200, within=PATIENCE)
    assert moved(several, away_from=old)
    assert client.get("/v1/sessions/current", headers=visitor).json()["state"] == {"basket": ["tea"]}
