"""However much waits in a queue, dropping it takes the engine a moment at a time, and what comes in meanwhile stays."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta

import pytest

from backroom.domain.limits import Limit
from backroom.queue import purge as pieces
from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, actor, post, until, working

HOUR = timedelta(hours=1)
FEW = ("few", 1, 0, 0, 0)


def leftovers(engine: Engine) -> set[str]:
    """Keys that say that something waits."""
    kinds = ("line", "ring", "delayed", "limited", "waiting", "extras", "msgs", "empty", "left", "unique")
    return {key for key in engine.all_keys() if key.removeprefix("{br}:").startswith(kinds)} - {"{br}:limited"}


def fetch(engine: Engine, capacity: int, *queues: str) -> list[bytes]:
    lanes = [value for queue in queues for value in (queue, 0, 0, 0)]
    with open_client(engine.url) as client:
        reply = Script(client, "fetch", prefix="br")("w", 60_000, capacity, 0, 1, len(queues), *FEW, *lanes)
    return reply[HEADER:][2::6]


def test_everything_goes_in_pieces_of_a_thousand_at_most(engine: Engine, sender: Sender, queues: Queues):
    apps = ["", *(f"app{n}" for n in range(300))]
    sender.send([post("note", n, app=apps[n % 2 * n % 301], priority=("urgent", "bulk")[n % 2]) for n in range(4_000)])
    sender.send([post("note", n, delay=HOUR) for n in range(2_500)])
    sender.send([post("note", n, queue="limits", limits=("few",)) for n in range(2_500)])
    assert len(fetch(engine, 1, "limits")) == 1
    until(lambda: fetch(engine, 9, "limits") == [] and queues.depths()["limits"].limited == 2_499)
    told = [0]

    assert queues.purge("work", told=told.append) == 6_500
    assert queues.purge("limits", told=told.append) == 2_499

    assert max(after - before for before, after in itertools.pairwise(told)) <= pieces.PIECE
    assert queues.depths()["work"].waiting == queues.depths()["limits"].waiting == 0
    assert leftovers(engine) == {"{br}:msgs", "{br}:extras"}
    with engine.client() as client:
        assert client.hlen("{br}:msgs") == client.hlen("{br}:extras") == 1


def test_what_is_sent_while_a_queue_is_purged_stays(
    engine: Engine, sender: Sender, queues: Queues, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pieces, "PIECE", 10)
    sender.send([post("note", n, app=("", "a")[n % 2]) for n in range(100)])
    late: list[str] = []

    def send_more(gone: int) -> None:
        # Not before it has come to the lines.
        if gone:
            late.append(f"late{len(late)}")
            sender.send([post("note", id=late[-1], app=("", "a", "new")[len(late) % 3])])

    assert queues.purge("work", told=send_more) == 100
    assert late
    assert queues.depths()["work"].ready == len(late)
    assert sorted(fetch(engine, 200, "work")) == sorted(id.encode() for id in late)
    assert "{br}:empty" not in engine.all_keys()


def test_a_queue_is_purged_while_workers_and_senders_go_on(
    engine: Engine, sender: Sender, queues: Queues, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pieces, "PIECE", 20)
    limit, over, ran, sent = Limit(name="few", concurrent=2), threading.Event(), [], [0]

    def send() -> None:
        while not over.is_set():
            sender.send([post("note", sent[0] + n, app=("", "a", "b")[n % 3], limits=("few",)) for n in range(20)])
            sender.send([post("note", sent[0] + n, delay=timedelta(milliseconds=n)) for n in range(20, 40)])
            sent[0] += 40

    def note(message: dict[str, int]) -> None:
        ran.append(message["n"])

    sending = threading.Thread(target=send)
    with working(engine, actor("note", note, limits=(limit,)), threads=2) as broker:
        sending.start()
        try:
            gone = 0
            until(lambda: len(ran) > 50)
            for _ in range(10):
                gone += queues.purge("work")
        finally:
            over.set()
            sending.join()
        broker.join("work", timeout=60_000)

    # Each of them was run once or dropped once.
    assert gone
    assert len(ran) == len(set(ran))
    assert len(ran) + gone == sent[0]
    assert leftovers(engine) == set()


def test_a_purge_that_was_given_up_leaves_no_trace(
    engine: Engine, sender: Sender, queues: Queues, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pieces, "PIECE", 10)
    sender.send([post("note", n, id=f"m{n}") for n in range(50)])

    def give_up(gone: int) -> None:
        if gone >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queues.purge("work", told=give_up)

    assert queues.depths()["work"].ready == 30
    assert fetch(engine, 100, "work") == [f"m{n}".encode() for n in range(20, 50)]
    assert "{br}:empty" not in engine.all_keys()
    assert queues.purge("work") == 0


def test_others_that_wait_for_the_same_limit_keep_their_order(
    engine: Engine, sender: Sender, queues: Queues, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pieces, "PIECE", 7)
    sender.send([post("note", id="first", queue="other", limits=("few",))])
    assert fetch(engine, 1, "other") == [b"first"]
    for n in range(30):
        sender.send([post("note", id=f"{queue}{n}", queue=queue, limits=("few",)) for queue in ("work", "other")])
        assert fetch(engine, 9, "work", "other") == []

    assert queues.purge("work") == 30

    assert queues.depths()["work"].limited == 0
    assert queues.depths()["other"].limited == 30
    with engine.client() as client:
        left = client.lrange("{br}:limited:few:2", 0, -1)
    assert left == [f"other|2|other{n}".encode() for n in range(30)]


def test_cancelled_messages_do_not_keep_a_move_busy(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", n, id=f"m{n}") for n in range(2_500)])
    for n in range(2_400):
        queues.cancel(f"m{n}")

    assert queues.move("work", "other", limit=500) == 100
    assert queues.depths()["work"].ready == 0
    assert queues.depths()["other"].ready == 100
    assert not {"{br}:empty", "{br}:left", "{br}:line:work:2"} & engine.all_keys()


def test_everybody_who_waits_for_a_limit_is_looked_at_when_it_is_set(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", n, limits=(f"few/{n // 2}",)) for n in range(2_400)])
    with open_client(engine.url) as client:
        call = Script(client, "fetch", prefix="br")
        for _ in range(20):
            call("w", 60_000, 500, 0, 1, 1, *FEW, "work", 0, 0, 0)
        assert queues.depths()["work"].limited == 1_200

        queues.limit(Limit(name="few", concurrent=2))

        with engine.client() as look:
            assert len(look.zrangebyscore("{br}:waiting:few", "-inf", 1e15)) == 1_200
