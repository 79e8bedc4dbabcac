"""A message that loses its worker finds its place within a limit again, whoever else wants it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, Processes, post, until

PROGRAM = Path(__file__).with_name("queue_worker.py")
MINUTE = 60_000
# Two at once, any rate; or one each hour as well.
FEW = ("few", 2, 0, 0, 0)
FEW_AND_SELDOM = ("few", 2, 1, 3_600_000, 1)
APPS = ("a", "b", "c", "d", "e")


class Worker:
    """Fetches by hand, so that a test says who takes when."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._client = open_client(engine.url)
        self._call = {one: Script(self._client, one, prefix="br") for one in ("fetch", "begin", "settle", "leave")}
        self.name = name
        self.tokens: dict[str, int] = {}

    def fetch(self, capacity: int, *queues: str, limit: tuple[str | int, ...] = FEW) -> list[str]:
        lanes = [value for queue in queues or ("work",) for value in (queue, 0, 0, 0)]
        args = [capacity, 1, 1, len(queues or ("work",)), *limit, *lanes]
        rows = self._call["fetch"](self.name, MINUTE, *args)[HEADER:]
        taken = {rows[at].decode(): int(rows[at + 1]) for at in range(2, len(rows), 6)}
        self.tokens |= taken
        return list(taken)

    def begin(self, id: str) -> None:
        assert self._call["begin"](self.name, 1, id, self.tokens[id])

    def settle(self, what: str, *ids: str) -> None:
        args = [value for id in ids for value in (what, id, self.tokens[id], 0, "", "", 0)]
        assert self._call["settle"](self.name, len(ids), *args) == [1] * len(ids)

    def leave(self) -> None:
        self._call["leave"](self.name)

    def die(self) -> None:
        """It is not heard of until its lease has ended."""
        self._client.zadd("{br}:workers", {self.name: 1})

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def gone(engine: Engine) -> Iterator[Worker]:
    worker = Worker(engine, "gone")
    yield worker
    worker.close()


@pytest.fixture
def heir(engine: Engine) -> Iterator[Worker]:
    worker = Worker(engine, "heir")
    yield worker
    worker.close()


def full(sender: Sender, gone: Worker, heir: Worker) -> None:
    """Two of the least urgent are in, and many that are more urgent wait for them to be over."""
    sender.send([post("note", n, id=f"in{n}", priority="bulk", limits=("few",)) for n in range(2)])
    assert gone.fetch(2) == ["in0", "in1"]
    sender.send(
        [post("note", n, id=f"m{n}", app=APPS[n % 5], priority="urgent", limits=("few",)) for n in range(50)],
    )
    assert heir.fetch(60) == []


@pytest.mark.parametrize("way", ["die", "leave", "settle"])
def test_what_is_given_back_goes_in_before_all_who_came_while_it_ran(
    sender: Sender, gone: Worker, heir: Worker, way: str
):
    full(sender, gone, heir)

    if way == "settle":
        gone.settle("release", "in0", "in1")
    else:
        getattr(gone, way)()

    # One at a time, so that the others have every chance.
    assert heir.fetch(1) == ["in0"]
    assert heir.fetch(1) == ["in1"]
    assert heir.fetch(1) == []
    heir.settle("done", "in0", "in1")
    assert len(heir.fetch(5)) == 2


def test_more_messages_in_line_do_not_take_a_place_that_is_kept(sender: Sender, gone: Worker, heir: Worker):
    full(sender, gone, heir)
    gone.die()
    sender.send([post("note", n, app=APPS[n % 5], priority="urgent", limits=("few",)) for n in range(20)])

    taken = [id for _ in range(8) for id in heir.fetch(2)]

    assert taken == ["in0", "in1"]


def test_a_place_is_not_kept_for_ever(engine: Engine, sender: Sender, queues: Queues, gone: Worker, heir: Worker):
    full(sender, gone, heir)
    sender.send([post("note", id="o", queue="other", limits=("few",))])
    queues.rule("work", intake="paused")
    gone.die()
    assert heir.fetch(5, "other") == []

    with engine.client() as client:
        assert client.zcard("{br}:kept:few") == 2
        # Nobody takes them out of a queue that is paused. Some seconds later:
        for id in client.zrange("{br}:kept:few", 0, -1):
            client.zadd("{br}:kept:few", {id: 1})
        client.zadd("{br}:waiting:few", {"few": 1})

    until(lambda: heir.fetch(5, "other") == ["o"])


@pytest.mark.parametrize("way", ["cancel", "discard", "purge"])
def test_a_place_is_free_at_once_where_its_message_is_over(
    engine: Engine, sender: Sender, queues: Queues, gone: Worker, heir: Worker, *, way: str
):
    full(sender, gone, heir)
    sender.send([post("note", n, id=f"o{n}", queue="other", limits=("few",)) for n in range(2)])
    assert heir.fetch(5, "other") == []
    gone.leave()

    if way == "purge":
        queues.purge("work")
    else:
        for id in ("in0", "in1"):
            assert getattr(queues, way)(id)

    with engine.client() as client:
        assert not client.exists("{br}:kept:few")
    assert heir.fetch(5, "other", "work")


def test_a_rate_is_asked_again_and_what_it_holds_back_keeps_no_place(
    engine: Engine, sender: Sender, gone: Worker, heir: Worker
):
    sender.send([post("note", id="in", limits=("few",)), post("note", id="m", limits=("few",))])
    assert gone.fetch(5, limit=FEW_AND_SELDOM) == ["in"]
    gone.die()

    assert heir.fetch(5, limit=FEW_AND_SELDOM) == []
    with engine.client() as client:
        assert not client.exists("{br}:kept:few")
        # When the hour is over, it is the first.
        client.delete("{br}:limit:few")
        client.zadd("{br}:waiting:few", {"few": 1})
    assert heir.fetch(5, limit=FEW_AND_SELDOM) == ["in"]


def test_whoever_does_not_know_of_kept_places_cannot_make_a_limit_let_in_too_many(
    engine: Engine, sender: Sender, gone: Worker, heir: Worker
):
    full(sender, gone, heir)
    gone.leave()
    with engine.client() as client:
        # As code of an older release does, which is still at work beside this one.
        client.sadd("{br}:holders:few", "m0", "m1")

    assert heir.fetch(5) == []
    with engine.client() as client:
        assert not client.exists("{br}:kept:few")
        # Those two are over.
        client.delete("{br}:holders:few")
        client.zadd("{br}:waiting:few", {"few": 1})
    assert len(heir.fetch(60)) == 2


def test_what_a_killed_process_ran_under_a_limit_does_not_wait_behind_the_others(
    engine: Engine, sender: Sender, tmp_path: Path
):
    crew = Processes(tmp_path)

    def hire(threads: int) -> int:
        crew.start(PROGRAM, engine.url, 1_000, tmp_path, threads)
        return crew.processes[-1].pid

    try:
        hire(threads=4)
        sender.send([post("few", n, priority="bulk", limits=("few",)) for n in range(4)])
        until(lambda: len(crew.runs()) == 4)
        heir = hire(threads=1)
        sender.send([post("few", n, app=APPS[n % 5], priority="urgent", limits=("few",)) for n in range(4, 300)])
        with open_client(engine.url) as client:
            until(lambda: Queues(client, prefix="br").depths()["work"].limited == 296)
        (tmp_path / "go").touch()

        crew.processes[0].kill()

        until(lambda: len({run[0] for run in crew.runs() if run[2:] == ["ended"]}) == 300, within=60)
        runs = crew.runs()[4:]
        assert {run[1] for run in runs} == {str(heir)}
        # Each of them with the share of its class: of ten messages one is not urgent.
        ended = [run[0] for run in runs if run[2] == "ended"]
        assert max(map(ended.index, ("0", "1", "2", "3"))) < 60
    finally:
        crew.dismiss()


def test_a_worker_that_dies_of_its_message_keeps_no_place_for_it(
    engine: Engine, sender: Sender, gone: Worker, heir: Worker
):
    sender.send([post("note", id="poison", limits=("few",))])
    for _ in range(5):
        assert gone.fetch(5) == ["poison"]
        gone.begin("poison")
        gone.die()
        heir.fetch(1, "other")

    with engine.client() as client:
        assert client.zcard("{br}:dead") == 1
        assert not client.exists("{br}:kept:few", "{br}:holders:few")


def test_those_that_wait_are_looked_at_when_a_kept_place_is_open_to_all(
    engine: Engine, sender: Sender, gone: Worker, heir: Worker
):
    full(sender, gone, heir)
    gone.die()

    heir.fetch(0)

    with engine.client() as client:
        opens = dict(client.zrange("{br}:waiting:few", 0, -1, withscores=True))[b"few"]
        until_then = min(score for _, score in client.zrange("{br}:kept:few", 0, -1, withscores=True))
        seconds, micros = client.time()
    assert opens == until_then
    assert timedelta(milliseconds=opens - seconds * 1000 - micros / 1000) <= timedelta(seconds=10)


@pytest.mark.parametrize("way", ["die", "leave", "settle"])
def test_what_is_given_back_is_taken_before_what_has_not_had_its_turn(
    sender: Sender, queues: Queues, gone: Worker, heir: Worker, way: str
):
    sender.send([post("note", n, id=f"in{n}", app=APPS[n % 2], priority=("normal", "bulk")[n % 2]) for n in range(8)])
    taken = {id for _ in range(4) for id in gone.fetch(2)}
    assert len(taken) == 8
    sender.send([post("note", n, app=APPS[n % 5], priority="urgent") for n in range(200)])
    sender.send([post("note", n, app=APPS[n % 5], priority="bulk") for n in range(200)])

    if way == "settle":
        gone.settle("release", *taken)
    else:
        getattr(gone, way)()

    # One at a time, and the queue's own order where nothing was given back.
    assert {id for _ in range(8) for id in heir.fetch(1)} == taken
    assert not {id for _ in range(4) for id in heir.fetch(1)} & taken
    assert queues.depths()["work"].ready == 396


def test_others_may_have_come_to_what_was_given_back_in_the_usual_turn(
    engine: Engine, sender: Sender, queues: Queues, gone: Worker, heir: Worker
):
    sender.send([post("note", n, id=f"m{n}", app=APPS[n % 2]) for n in range(6)])
    assert len(gone.fetch(4)) == 4
    gone.leave()
    with engine.client() as client:
        # As a worker of an older release does, which takes the lines in turn.
        client.delete("{br}:line:work:2a")
        client.hset("{br}:queues", "work", 3)
        client.lrem("{br}:ring:work:2", 1, "2a")

        assert heir.fetch(9) == ["m1", "m3", "m5"]

        assert not client.exists("{br}:returned:work")
    assert queues.depths()["work"].ready == 0
