"""A session that has ended never comes back, whatever arrives late and whatever is lost."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from backroom.domain.job import Message
from backroom.queue.open import base, open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from jobs.session_expire import ExpireSessions
from jobs.session_save import SaveSession
from tests.house import TestHouse, until
from tests.integration.test_sessions_state import CURRENT, begin, lose_hot_copies, rows


def post(house: TestHouse, message: Message, *, id: str) -> None:
    """Put a message on the queue by hand."""
    job = Shelves().job_for(type(message))
    client = open_client(house.settings.redis_url)
    Sender(client, prefix=house.settings.key_prefix).send([Post(job=job.name, queue=job.queue, message=message, id=id)])


def waiting_saves(house: TestHouse) -> list[SaveSession]:
    client = open_client(house.settings.redis_url)
    bodies = client.hvals(f"{base(house.settings.key_prefix)}msgs")
    return [msgspec.convert(msgspec.json.decode(body)["kwargs"]["message"], SaveSession) for body in bodies]


def settled(house: TestHouse, id: str) -> bool:
    return house.queues().find(id)[0] == "done"


def test_a_late_save_does_not_bring_an_ended_session_back(house: TestHouse) -> None:
    client = house.client()
    session = begin(client, state={"n": 1})
    client.put(CURRENT, headers=session, json={"n": 2}).raise_for_status()
    late = max(waiting_saves(house), key=lambda save: save.revision)

    house.start_worker()
    ended = client.delete(CURRENT, headers=session)
    until(lambda: [row["ended_at"] is not None for row in rows(house)] == [True])
    post(house, msgspec.structs.replace(late, revision=99), id="late-save")
    until(lambda: settled(house, "late-save"))

    assert (ended.status_code, ended.content) == (204, b"")
    assert client.get(CURRENT, headers=session).status_code == 404
    assert client.delete(CURRENT, headers=session).status_code == 404
    assert lose_hot_copies(house) == 1
    assert client.get(CURRENT, headers=session).status_code == 404
    assert client.put(CURRENT, headers=session, json={"n": 3}).status_code == 404
    (row,) = rows(house)
    assert row["ended_at"] is not None
    assert row["state"] == {}


def test_an_end_that_overtakes_every_save_still_ends_it(house: TestHouse) -> None:
    client = house.client()
    session = begin(client, state={"n": 1})
    client.delete(CURRENT, headers=session).raise_for_status()
    save, end = sorted(waiting_saves(house), key=lambda save: save.revision)
    valkey = open_client(house.settings.redis_url)
    valkey.delete(*valkey.scan_iter(f"{base(house.settings.key_prefix)}*"))

    house.start_worker()
    post(house, end, id="end")
    until(lambda: rows(house))
    post(house, save, id="save")
    until(lambda: settled(house, "save"))

    (row,) = rows(house)
    assert row["ended_at"] is not None
    assert client.get(CURRENT, headers=session).status_code == 404


def test_while_the_end_is_on_its_way_a_stale_row_cannot_fill_the_hot_copy(house: TestHouse) -> None:
    client = house.client()
    session = begin(client, state={"n": 1})
    worker = house.start_worker()
    until(lambda: rows(house))
    worker.stop()

    client.delete(CURRENT, headers=session).raise_for_status()

    assert rows(house)[0]["ended_at"] is None
    assert client.get(CURRENT, headers=session).status_code == 404


def test_a_session_left_alone_for_too_long_is_over_at_once_and_ended_later(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    idle, old, young = (begin(client, state={"is": name}) for name in ("idle", "old", "young"))
    until(lambda: len(rows(house)) == 3)
    owner = house.owner()
    owner.execute(
        "UPDATE sessions SET seen_at = now() - interval '2 days', lapses_at = now() - interval '47 hours' "
        "WHERE state->>'is' = 'idle'"
    )
    owner.execute(
        "UPDATE sessions SET expires_at = now() - interval '2 days', lapses_at = now() - interval '2 days' "
        "WHERE state->>'is' = 'old'"
    )
    lose_hot_copies(house)

    assert client.get(CURRENT, headers=idle).status_code == 404
    assert client.get(CURRENT, headers=old).status_code == 404
    assert client.get(CURRENT, headers=young).status_code == 200

    post(house, ExpireSessions(batch=1), id="tick")
    until(lambda: [row["ended_at"] is not None for row in rows(house)].count(True) == 2)

    assert client.get(CURRENT, headers=young).status_code == 200
    owner.execute("UPDATE sessions SET ended_at = now() - interval '31 days' WHERE ended_at IS NOT NULL")
    post(house, ExpireSessions(batch=1), id="next-tick")
    until(lambda: len(rows(house)) == 1)


def test_a_save_that_comes_after_its_row_was_forgotten_is_dropped(house: TestHouse) -> None:
    client = house.client()
    session = begin(client, preset="remember", state={"n": 1})
    (save,) = waiting_saves(house)
    valkey = open_client(house.settings.redis_url)
    valkey.delete(*valkey.scan_iter(f"{base(house.settings.key_prefix)}*"))
    house.start_worker()
    post(house, msgspec.structs.replace(save, at=save.at - timedelta(days=40)), id="ancient")
    until(lambda: settled(house, "ancient"))

    assert rows(house) == []
    assert client.get(CURRENT, headers=session).status_code == 404


@pytest.mark.parametrize("lost", ["nothing", "hot"])
def test_reading_notes_a_visit_once_a_minute_and_changes_no_version(house: TestHouse, lost: str) -> None:
    house.start_worker()
    client = house.client()
    session = begin(client, state={"n": 1})
    until(lambda: rows(house))
    owner = house.owner()
    owner.execute(
        "UPDATE sessions SET seen_at = seen_at - interval '10 minutes', lapses_at = lapses_at - interval '10 minutes'"
    )
    before = rows(house)[0]
    lose_hot_copies(house)

    first = client.get(CURRENT, headers=session)
    after = until(lambda: (row := rows(house)[0])["seen_at"] > before["seen_at"] and row)
    second = client.get(CURRENT, headers=session)
    if lost == "hot":
        lose_hot_copies(house)
    third = client.get(CURRENT, headers=session)

    assert {answer.headers["ETag"] for answer in (first, second, third)} == {'"1"'}
    assert (after["version"], after["revision"]) == (1, before["revision"] + 1)
    assert third.json()["seen_at"] == second.json()["seen_at"]
    assert rows(house)[0]["revision"] == after["revision"]
