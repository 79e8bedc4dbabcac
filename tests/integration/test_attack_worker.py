"""Messages that nobody should have sent die at once, hold nobody up, and leave no word of what was in them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
import uuid_utils

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from tests.house import TestHouse, until

SECRET = "wordsthatnobodymayread"
NOW = "2026-01-01T00:00:00Z"
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def by_hand(house: TestHouse) -> Callable[..., str]:
    """Put a message on the queue past the door; its id."""
    sender = Sender(open_client(house.settings.redis_url), prefix=house.settings.key_prefix)
    jobs = Shelves(()).jobs

    def post(job: str, **message: object) -> str:
        id = str(uuid_utils.uuid7())
        sender.send([Post(job=job, queue=jobs[job].queue, message={"app": house.app.id, **message}, id=id)])
        return id

    return post


def event(**said: object) -> dict[str, object]:
    return {"id": "e", "kind": "track", "name": "Seen", "user": "ada", "at": NOW, "received_at": NOW, **said}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("user.put", {"user": "ada", "name": f"{SECRET}\0"}),
        ("user.put", {"user": "ada", "attributes": {"note": f"{SECRET}\0"}}),
        ("user.put", {"user": SECRET, "app": NOBODY}),
        ("user.put", {"user": "ada", "app": SECRET}),
        ("record.write", {"op": SECRET, "collection": "c", "key": "k", "value": {}}),
        ("record.write", {"op": NOBODY, "collection": "c", "key": "k", "value": {SECRET: "\0"}}),
        ("event.record", {"events": [event(name=f"{SECRET}\0")]}),
        ("event.record", {"events": [event(properties={SECRET: "\0"})]}),
        ("delivery.attempt", {"delivery": SECRET}),
        ("inbox.read", {"user": "ada", "item": SECRET, "at": NOW}),
        ("alert.acknowledge", {"alert": SECRET, "by": "ada", "at": NOW}),
        ("notification.send", {"type": "order_shipped", "to": ["ada"], "data": {SECRET: "\0"}, "accepted_at": NOW}),
    ],
)
def test_what_can_never_be_kept_dies_at_once_and_is_not_quoted(house, by_hand, caplog, job, message):
    caplog.set_level(logging.INFO)
    house.start_worker()

    id = by_hand(job, **message)

    queues = house.queues()
    until(lambda: queues.find(id)[0] == "dead", what="it is among the dead letters")
    (dead,) = queues.dead()
    assert dead.attempts == 1
    noted = json.loads(dead.body)["options"]["errors"]
    assert SECRET not in dead.reason + str(noted) + caplog.text


def test_no_level_of_detail_brings_a_message_into_the_log():
    program = (
        "import logging; from backroom.logs import configure; from backroom.settings import Settings;"
        "configure(Settings(_env_file=None, log_level='debug'), door='worker');"
        "logging.getLogger('workers.bind.user.put').debug('Received args=%s', 'ada@example.com');"
        "logging.getLogger('dramatiq.worker').debug('%s', 'ada@example.com')"
    )

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert "ada@example.com" not in told.stderr + told.stdout


def test_a_record_that_can_never_be_written_holds_up_no_other(house, by_hand):
    client = house.client()
    by_hand("record.write", op="not an id", collection="c", key="k", value={})
    by_hand("record.write", op=NOBODY, collection="c", key="k", value={}, app=NOBODY)
    house.start_worker()

    answer = client.put("/v1/records/c/another", json={}, headers={"Prefer": "wait=10"})

    assert answer.status_code == 201, answer.text


def test_ticks_sent_by_hand_at_once_do_their_work_and_end(house, by_hand):
    ticks = [
        by_hand(job, app="")
        for job in ("rule.check", "events.rollup", "items.pair", "digest.send", "delivery.rescue", "session.expire")
        for _ in range(3)
    ]
    house.start_worker(threads=8)

    queues = house.queues()

    until(lambda: all(queues.find(tick)[0] == "done" for tick in ticks), what="every tick is done")
    assert queues.dead() == []


def test_postgresql_does_not_write_into_its_log_what_it_refused(house, by_hand, engines):
    house.start_worker()

    id = by_hand("user.put", user="ada", attributes={"note": "ada's own affair\0"})

    until(lambda: house.queues().find(id)[0] == "dead", what="it is among the dead letters")
    log = (engines.home / "logs" / "postgres.log").read_text(encoding="utf-8")
    assert "unsupported Unicode escape sequence" in log
    assert "ada's own affair" not in log
