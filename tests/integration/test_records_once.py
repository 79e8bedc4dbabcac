"""A write acts once, however often its message is delivered and whoever else believes to hold it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import uuid_utils

from backroom import connect
from backroom.domain.job import Message
from backroom.domain.record import Condition, Place, Write, decide
from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from backroom.store.unit import Store
from jobs.record_forget import ForgetRecords
from jobs.record_write import WriteRecord
from tests.house import TestHouse, until

WAIT = {"Prefer": "wait=10"}


def post(house: TestHouse, *messages: Message) -> list[str]:
    """Put messages on the queue by hand, each under an id of its own; the ids."""
    shelves, ids = Shelves(), [str(uuid_utils.uuid7()) for _ in messages]
    client = open_client(house.settings.redis_url)
    Sender(client, prefix=house.settings.key_prefix).send(
        [
            Post(job=job.name, queue=job.queue, message=message, id=id)
            for id, message in zip(ids, messages, strict=True)
            for job in [shelves.job_for(type(message))]
        ]
    )
    return ids


def done(house: TestHouse, ids: list[str]) -> bool:
    return all(house.queues().find(id)[0] == "done" for id in ids)


def write(
    house: TestHouse, value: dict[str, Any] | None, condition: Condition | None = None, *, key: str = "one"
) -> WriteRecord:
    return WriteRecord(
        app=house.app.id,
        op=str(uuid_utils.uuid7()),
        collection="notes",
        key=key,
        value=value,
        condition=condition or Condition(),
    )


def test_a_write_that_is_delivered_twice_acts_once(house: TestHouse) -> None:
    client = house.client()
    first, second = write(house, {"n": 1}), write(house, {"n": 2})

    # Twice in one batch, and once more in a later one.
    sent = post(house, first, first, second)
    house.start_worker()
    until(lambda: done(house, sent))
    again = post(house, first)
    until(lambda: done(house, again))

    read = client.get("/v1/records/notes/one").json()
    assert (read["value"], read["version"]) == ({"n": 2}, 2)
    assert client.get(f"/v1/operations/{first.op}").json()["status"] == 201
    assert client.get(f"/v1/operations/{second.op}").json()["status"] == 200


def test_a_worker_that_was_taken_for_dead_and_is_not_cannot_act_twice(house: TestHouse) -> None:
    client = house.client()
    message = write(house, {"n": 1}, Condition(exists=False))
    engine = connect.engine(house.settings, door="backroom_worker", connections=1)
    slow = Store(engine).unit(house.app.id)
    one = Write(
        id=message.op, place=Place(collection="notes", owner="", key="one"), value={"n": 1}, condition=message.condition
    )

    # The slow worker has done everything but commit when another one gets its message.
    slow.write.records.take_turn()
    decided = decide([one], kept=slow.write.records.kept({one.place: True}), done=slow.write.records.done([one.id]))
    slow.write.records.keep(decided.changed, at=datetime.now(UTC))
    slow.write.records.remember(decided.fresh.values(), at=datetime.now(UTC))
    house.start_worker()
    sent = post(house, message)
    owner = house.owner()
    until(lambda: owner.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone())
    slow.commit()
    until(lambda: done(house, sent))
    engine.dispose()

    assert client.get("/v1/records/notes/one").json()["version"] == 1
    assert client.get(f"/v1/operations/{message.op}").json()["status"] == 201


def test_one_write_that_cannot_be_kept_does_not_take_the_others_with_it(house: TestHouse) -> None:
    client = house.client()
    # The door would have refused it; PostgreSQL does, too.
    poison = write(house, {"n": "\x00"}, key="two")
    before, after = write(house, {"n": 1}), write(house, {"n": 2})

    _, refused, _ = post(house, before, poison, after)
    house.start_worker()

    until(lambda: client.get(f"/v1/operations/{after.op}").status_code == 200)
    dead = until(house.queues().dead)
    read = client.get("/v1/records/notes/one").json()
    assert (read["value"], read["version"]) == ({"n": 2}, 2)
    assert [letter.job for letter in dead] == ["record.write"]
    assert "cannot be kept" in dead[0].reason
    assert client.get("/v1/records/notes/two").status_code == 404
    told = client.get(f"/v1/operations/{refused}").json()
    assert (told["state"], told["status"]) == ("failed", None)
    assert "cannot be kept" not in told["reason"]


def test_what_served_its_time_is_forgotten_and_records_are_not(house: TestHouse) -> None:
    house.start_worker()
    client = house.client()
    for key in ("kept", "old", "gone"):
        client.put(f"/v1/records/notes/{key}", json={}, headers=WAIT).raise_for_status()
    for key in ("old", "gone"):
        client.delete(f"/v1/records/notes/{key}", headers=WAIT).raise_for_status()
    owner = house.owner()
    owner.execute("UPDATE records SET deleted_at = now() - interval '31 days' WHERE key = 'old'")
    owner.execute("UPDATE record_operations SET done_at = now() - interval '8 days' WHERE status = 204")

    sent = post(house, ForgetRecords(batch=1))
    until(lambda: done(house, sent))

    assert {key for (key,) in owner.execute("SELECT key FROM records")} == {"kept", "gone"}
    assert [status for (status,) in owner.execute("SELECT status FROM record_operations")] == [201] * 3
    # The version of what was deleted lately is remembered, the other one begins anew.
    back = [client.put(f"/v1/records/notes/{key}", json={}, headers=WAIT).headers["ETag"] for key in ("gone", "old")]
    assert back == ['"3"', '"1"']
