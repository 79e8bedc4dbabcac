"""What the door says when a queue takes nothing more."""

from __future__ import annotations

import httpx
import pytest

from tests.house import TestHouse

USER = "/v1/users/ada"
ADA = {"name": "Ada", "contacts": {"email": "ada@example.com"}}


@pytest.fixture
def client(house: TestHouse) -> httpx.Client:
    return house.client()


@pytest.fixture
def queue(house: TestHouse, client: httpx.Client) -> str:
    """The queue that a user's profile waits in; no worker takes it out."""
    assert client.put(USER, json=ADA).status_code == 202
    (queue,) = [name for name, depth in house.queues().depths().items() if depth.ready]
    return queue


def test_over_its_mark_callers_are_asked_to_slow_down(house: TestHouse, client: httpx.Client, queue: str):
    house.queues().rule(queue, mark=1)

    answer = client.put(USER, json=ADA)

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == f"the queue {queue} is full"
    house.queues().rule(queue, mark=0)
    assert client.put(USER, json=ADA).status_code == 202


def test_while_it_is_drained_the_door_says_when_to_come_back(house: TestHouse, client: httpx.Client, queue: str):
    house.queues().rule(queue, intake="draining")

    answer = client.put(USER, json=ADA)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "drained" in answer.json()["detail"]
    assert house.queues().depths()[queue].ready == 1


def test_a_paused_queue_goes_on_accepting(house: TestHouse, client: httpx.Client, queue: str):
    house.queues().rule(queue, intake="paused")

    assert client.put(USER, json=ADA).status_code == 202
    assert house.queues().depths()[queue].ready == 2
