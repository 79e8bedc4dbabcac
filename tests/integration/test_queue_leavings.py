"""What is over leaves nothing behind that is counted, promoted, or kept for ever."""

from __future__ import annotations

from datetime import timedelta

import dramatiq
import pytest

from backroom.domain.errors import Full
from backroom.domain.limits import Limit
from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.running import Running
from backroom.queue.sender import Sender
from backroom.queue.wire import OneOfAKind
from tests.integration.queue_engine import Engine, actor, post, until, working

HOUR = timedelta(hours=1)


def test_what_was_replaced_does_not_go_on_waiting_for_its_time(sender: Sender, queues: Queues):
    one = OneOfAKind(key="index/7", mode="r", replace=True)

    # The first two in one call.
    sender.send([post("note", n, unique=one, delay=HOUR) for n in range(2)])
    for n in range(3):
        sender.send([post("note", n, unique=one, delay=HOUR)])

    assert queues.depths()["work"].delayed == 1


def test_what_was_replaced_does_not_come_back_when_its_enqueue_is_repeated_in_the_same_call(
    sender: Sender, queues: Queues
):
    one = OneOfAKind(key="index/7", mode="r", replace=True)

    sent = sender.send([post("note", n, id=id, unique=one) for n, id in enumerate(["m1", "m2", "m1"])])

    assert [(posted.id, posted.fresh) for posted in sent] == [("m1", True), ("m2", True), ("m1", False)]
    assert queues.find("m2")[0] == "queued"


def test_an_id_that_comes_back_after_its_tombstone_has_gone_is_taken_once(
    engine: Engine, sender: Sender, queues: Queues
):
    for _ in range(2):
        sender.send([post("note", id="m1")])
        queues.cancel("m1")
        with engine.client() as client:
            # An hour later. Nobody has come to its place meanwhile.
            client.delete("{br}:done")
    sender.send([post("note", id="m1"), post("note", id="m2")])

    with open_client(engine.url) as client:
        taken = Script(client, "fetch", prefix="br")("w", 60_000, 9, 0, 0, 1, "work", 0, 0, 0)[HEADER:][2::6]

    assert taken == [b"m1", b"m2"]
    assert queues.depths()["work"].inflight == 2
    assert "{br}:empty" not in engine.all_keys()


def test_purging_a_queue_spares_a_message_that_has_only_left_a_place_there(sender: Sender, queues: Queues):
    sender.send([post("note", id="m1")])
    queues.cancel("m1")
    queues._client.delete("{br}:done")
    sender.send([post("note", id="m1", queue="other")])

    assert queues.purge("work") == 0
    assert queues.find("m1")[0] == "queued"


def test_a_zombies_last_words_about_its_progress_are_not_kept(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", id="m1")])
    queues.cancel("m1")
    with open_client(engine.url) as client:
        Running(client, prefix="br").progress("m1", 0.5, "half")

    assert "{br}:progress" not in engine.all_keys()


def test_a_limit_that_nobody_waits_for_is_not_kept_in_mind(engine: Engine, sender: Sender):
    keys = [f"calls/user-{n}" for n in range(20)]
    sender.send([post("note", limits=(key,)) for key in keys for _ in range(2)])
    with working(engine, actor("note", lambda message: None, limits=(Limit(name="calls", concurrent=1),))) as broker:
        broker.join("work", timeout=20_000)

    assert not [key for key in engine.all_keys() if "calls" in key or "limited" in key]


def test_what_waits_for_a_limit_that_a_release_has_dropped_is_not_stranded(
    engine: Engine, sender: Sender, queues: Queues
):
    ran: list[int] = []
    sender.send([post("note", n, limits=("calls",)) for n in range(3)])
    with open_client(engine.url) as client:
        old = Script(client, "fetch", prefix="br")
        # One an hour: two wait.
        old("old", 60_000, 3, 0, 1, 1, "calls", 0, 1, 3_600_000, 1, "work", 0, 0, 0)
        assert queues.depths()["work"].limited == 2
        Script(client, "leave", prefix="br")("old")

    with working(engine, actor("note", lambda message: ran.append(message["n"]))):
        until(lambda: sorted(ran) == [0, 1, 2])

    assert not [key for key in engine.all_keys() if "waiting" in key or "limited" in key]


def test_a_batch_lingers_anew_after_the_first_one_was_moved_away(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note")])
    with open_client(engine.url) as client:
        Script(client, "fetch", prefix="br")("w", 60_000, 1, 0, 0, 1, "work", 10, 60_000, 0)
    assert "{br}:lane:work" in engine.all_keys()

    queues.move("work", "other", limit=10)

    assert "{br}:lane:work" not in engine.all_keys()


def test_a_depth_does_not_count_what_was_cancelled_discarded_or_replaced(sender: Sender, queues: Queues):
    one = OneOfAKind(key="index/7", mode="r", replace=True)
    sender.send([post("note", n, id=f"m{n}") for n in range(5)])
    sender.send([post("note", unique=one), post("note", unique=one)])
    sender.send([post("note", id="later", delay=HOUR)])

    queues.cancel("m1")
    queues.discard("m3")
    queues.cancel("later")

    assert queues.depths()["work"].ready == 4
    assert queues.depths()["work"].delayed == 0


def test_what_waits_for_a_limit_is_not_counted_any_more_when_it_is_cancelled(
    engine: Engine, sender: Sender, queues: Queues
):
    sender.send([post("note", n, id=f"m{n}", limits=("one",)) for n in range(4)])
    with open_client(engine.url) as client:
        fetch = Script(client, "fetch", prefix="br")
        assert fetch("w", 60_000, 9, 0, 1, 1, "one", 1, 0, 0, 0, "work", 0, 0, 0)[HEADER:][2::6] == [b"m0"]
        sender.send([post("note", n, id=f"m{n}") for n in range(4, 8)])

        for id in ("m2", "m3", "m5"):
            queues.cancel(id)

        depth = queues.depths()["work"]
        assert (depth.ready, depth.limited, depth.inflight) == (3, 1, 1)
        queues.limit(Limit(name="one", concurrent=9))
        reply = fetch("w", 60_000, 9, 0, 1, 1, "one", 1, 0, 0, 0, "work", 0, 0, 0)
        assert reply[HEADER:][2::6] == [b"m1", b"m4", b"m6", b"m7"]
    depth = queues.depths()["work"]
    assert (depth.ready, depth.limited, depth.inflight) == (0, 0, 5)
    assert not {"{br}:empty", "{br}:left"} & engine.all_keys()


def test_a_queue_over_its_mark_takes_as_many_in_as_were_cancelled(sender: Sender, queues: Queues):
    queues.rule("work", mark=3)
    sender.send([post("note", n, id=f"m{n}") for n in range(3)])
    with pytest.raises(Full):
        sender.send([post("note")])

    queues.cancel("m0")

    sender.send([post("note")])
    with pytest.raises(Full):
        sender.send([post("note")])


def test_the_oldest_message_is_the_oldest_that_is_still_there(sender: Sender, queues: Queues):
    sender.send([post("note", n, id=f"m{n}") for n in range(3)])
    queues.cancel("m0")
    queues.cancel("m1")

    assert queues.depths()["work"].oldest is not None


def test_empty_places_that_an_older_release_has_left_or_taken_count_for_nothing_in_the_end(
    engine: Engine, sender: Sender, queues: Queues
):
    sender.send([post("note", n, id=f"m{n}") for n in range(4)])
    queues.cancel("m0")
    with engine.client() as client:
        # It knows nothing of this count: it came to one place, and cancelled another message.
        client.hdel("{br}:empty", "work|2|m0")
        client.lpop("{br}:line:work:2")
        client.hincrby("{br}:queues", "work", -1)
        assert queues.depths()["work"].ready == 3
        client.hset("{br}:empty", "work|2|m1", 1)
        client.hdel("{br}:msgs", "m1")
        with open_client(engine.url) as other:
            Script(other, "fetch", prefix="br")("w", 60_000, 1, 0, 0, 1, "work", 0, 0, 0)

    assert queues.depths()["work"].ready == 1
    queues.cancel("m3")
    assert queues.depths()["work"].ready == 0


@pytest.mark.parametrize("priority", [-5, 0, 5])
@pytest.mark.parametrize("delay", [None, 3_600_000])
def test_a_message_of_an_actor_with_a_priority_is_cancelled_where_it_stands(
    engine: Engine, queues: Queues, broker: ValkeyBroker, priority: int, delay: int | None
):
    note = dramatiq.actor(lambda: None, broker=broker, actor_name="note", queue_name="work", priority=priority)
    first, second = (note.send_with_options(delay=delay) for _ in range(2))
    assert queues.find(first.message_id)[0] == ("scheduled" if delay else "queued")

    assert queues.cancel(first.message_id) == "cancelled"

    assert queues.depths()["work"].waiting == 1
    assert queues.purge("work") == 1
    assert queues.find(second.message_id)[0] == "unknown"
    assert not {key for key in engine.all_keys() if key.startswith(("{br}:empty", "{br}:left", "{br}:delayed"))}
