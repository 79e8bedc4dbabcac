"""What is accepted is on the queue: once."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from backroom.domain.errors import Full, QueueAway
from backroom.queue.answers import Answers, AsyncAnswers
from backroom.queue.hot import AsyncHot, HotPut, HotValue
from backroom.queue.open import open_async_client, open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import AsyncSender, Sender
from backroom.queue.wire import Once, Posted
from tests.integration.queue_engine import Engine, actor, post, until, working

HOUR = timedelta(hours=1)
SOON = timedelta(seconds=2)


def calls(engine: Engine, command: str) -> int:
    with engine.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def test_an_enqueue_repeated_after_a_lost_reply_changes_nothing(sender: Sender, queues: Queues):
    letter = post("note", id="m1")

    first, second = sender.send([letter]), sender.send([letter, letter])

    assert first == [Posted(id="m1", fresh=True)]
    assert second == [Posted(id="m1", fresh=False)] * 2
    assert queues.depths()["work"].ready == 1


def test_an_enqueue_repeated_after_the_job_is_done_changes_nothing(engine: Engine, sender: Sender, queues: Queues):
    ran = []
    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        sender.send([post("note", 7, id="m1")])
        broker.join("work", timeout=5000)
        again = sender.send([post("note", 7, id="m1")])
        broker.join("work", timeout=5000)

    assert again == [Posted(id="m1", fresh=False)]
    assert ran == [7]
    assert queues.find("m1") == ("done", None)


def test_a_once_key_returns_the_first_id(sender: Sender, queues: Queues):
    once = Once(key="app:k1", window=HOUR, fingerprint="f")

    posted = [sender.send([post("note", id=id, once=once)])[0] for id in ("m1", "m2")]

    assert posted == [Posted(id="m1", fresh=True), Posted(id="m1", fresh=False)]
    assert queues.depths()["work"].ready == 1


def test_a_once_key_with_another_payload_is_a_conflict(sender: Sender, queues: Queues):
    sender.send([post("note", id="m1", once=Once(key="k", window=HOUR, fingerprint="f"))])

    (posted,) = sender.send([post("note", id="m2", once=Once(key="k", window=HOUR, fingerprint="g"))])

    assert posted == Posted(id="m1", fresh=False, conflict=True)
    assert queues.depths()["work"].ready == 1


def test_a_once_key_is_forgotten_after_its_window(sender: Sender):
    once = Once(key="k", window=timedelta(milliseconds=20))
    sender.send([post("note", id="m1", once=once)])

    until(lambda: sender.send([post("note", once=once)])[0].fresh, within=5)


def test_many_messages_keep_their_order(engine: Engine, sender: Sender):
    ran = []
    sender.send([post("note", n) for n in range(1300)])

    with working(engine, actor("note", lambda message: ran.append(message["n"])), threads=1) as broker:
        broker.join("work", timeout=20000)

    assert ran == list(range(1300))


def test_a_delay_is_kept_behind_many_far_ones(engine: Engine, sender: Sender):
    ran = []
    sender.send([post("note", "far", delay=HOUR) for _ in range(5000)])
    with working(engine, actor("note", lambda message: ran.append((message["n"], time.monotonic())))):
        begun = time.monotonic()
        sender.send([post("note", "near", delay=timedelta(milliseconds=300))])
        until(lambda: ran, within=10)

    assert ran[0][0] == "near"
    assert ran[0][1] - begun >= 0.3
    assert len(ran) == 1


def test_a_delay_is_counted_by_the_servers_clock(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", id="m1", delay=HOUR)])

    with engine.client() as client:
        seconds, _ = client.time()
        due = client.zscore("{br}:delayed:work", "2|m1")

    assert due / 1000 - seconds == pytest.approx(3600, abs=2)
    assert queues.find("m1")[0] == "scheduled"


def test_a_sender_says_so_when_the_engine_is_away(engine: Engine, sender: Sender):
    sender.send([post("note")])
    engine.kill()

    with pytest.raises(QueueAway):
        sender.send([post("note")])

    engine.start()
    assert sender.send([post("note")])[0].fresh


def test_a_full_engine_refuses_and_says_so(engine: Engine, sender: Sender):
    with engine.client() as client:
        client.config_set("maxmemory", "1")

    with pytest.raises((QueueAway, Full)):
        sender.send([post("note")])


def test_what_callers_send_together_travels_together(engine: Engine, queues: Queues):
    async def story() -> list[list[Posted]]:
        client = open_async_client(engine.url)
        sender = AsyncSender(client, prefix="br", timeout=SOON)
        await sender.send([post("note")])
        before = calls(engine, "evalsha")
        posted = await asyncio.gather(*(sender.send([post("note", n)]) for n in range(400)))
        assert calls(engine, "evalsha") - before <= 3
        await sender.close()
        await client.aclose()
        return posted

    posted = asyncio.run(story())

    assert all(one.fresh for (one,) in posted)
    assert queues.depths()["work"].ready == 401


def test_a_waiting_caller_is_told_in_time_that_the_engine_is_silent(engine: Engine):
    async def story() -> None:
        client = open_async_client(engine.url)
        sender = AsyncSender(client, prefix="br", timeout=timedelta(milliseconds=300))
        await sender.send([post("note", id="m1")])
        engine.pause()
        # Long before the engine would answer again, which is never while it is paused.
        async with asyncio.timeout(30):
            with pytest.raises(QueueAway):
                await sender.send([post("note", id="m2")])
        engine.resume()
        assert await sender.send([post("note", id="m1")]) == [Posted(id="m1", fresh=False)]
        await sender.close()
        await client.aclose()

    asyncio.run(story())


def test_the_door_recovers_from_an_outage_without_a_restart(engine: Engine):
    async def story() -> None:
        client = open_async_client(engine.url)
        sender = AsyncSender(client, prefix="br", timeout=SOON)
        await sender.send([post("note", id="m1")])
        engine.kill()
        with pytest.raises(QueueAway):
            await sender.send([post("note")])
        await asyncio.to_thread(engine.start)
        assert await sender.send([post("note", id="m1")]) == [Posted(id="m1", fresh=False)]
        await sender.close()
        await client.aclose()

    asyncio.run(story())


def test_a_full_buffer_is_said_at_once(engine: Engine):
    async def story() -> None:
        client = open_async_client(engine.url)
        sender = AsyncSender(client, prefix="br", timeout=SOON, most_waiting=10)
        outcomes = await asyncio.gather(*(sender.send([post("note", n)]) for n in range(20)), return_exceptions=True)
        assert sum(isinstance(outcome, Full) for outcome in outcomes) == 10
        await sender.close()
        await client.aclose()

    asyncio.run(story())


def test_a_hot_value_and_its_message_are_written_together_or_not_at_all(engine: Engine, queues: Queues):
    async def story() -> None:
        client = open_async_client(engine.url)
        sender, hot = AsyncSender(client, prefix="br", timeout=SOON), AsyncHot(client, prefix="br")

        def put(value: bytes, expected: int | None, *, ended: bool = False) -> HotPut:
            return HotPut(key="s1", value=value, expected=expected, ended=ended, ttl=HOUR)

        assert await hot.get("s1") is None
        assert await sender.put_and_send(put(b"a", None), [post("note")]) == 1
        assert await sender.put_and_send(put(b"x", None), [post("note")]) is None
        assert await sender.put_and_send(put(b"b", 1), [post("note")]) == 2
        assert await hot.get("s1") == HotValue(version=2, value=b"b", ended=False)
        assert not await hot.fill("s1", version=2, value=b"old", ttl=HOUR)
        assert await hot.fill("s2", version=9, value=b"from store", ttl=HOUR)
        assert await sender.put_and_send(put(b"", 2, ended=True), []) == 3
        assert await sender.put_and_send(put(b"c", 3), [post("note")]) is None
        assert not await hot.fill("s1", version=10, value=b"c", ttl=HOUR)
        assert await hot.get("s1") == HotValue(version=3, value=b"", ended=True)
        await sender.close()
        await client.aclose()

    asyncio.run(story())

    assert queues.depths()["work"].ready == 2


def test_everybody_who_waits_for_an_answer_gets_it(engine: Engine):
    async def story() -> None:
        client = open_async_client(engine.url)
        answers = AsyncAnswers(client, prefix="br", most=2)
        with open_client(engine.url) as worker_client:
            waiting = [asyncio.create_task(answers.wait("m1", timeout=SOON)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Full):
                await answers.wait("m1", timeout=SOON)
            Answers(worker_client, prefix="br").give("m1", b"done")
            assert await asyncio.gather(*waiting) == [b"done", b"done"]
            assert await answers.wait("m1", timeout=SOON) == b"done"
            assert await answers.wait("m2", timeout=timedelta(milliseconds=20)) is None
        await answers.close()
        await client.aclose()

    asyncio.run(story())


async def _told_when_interrupted(engine: Engine) -> list[BaseException | list]:
    client = open_async_client(engine.url)
    sender = AsyncSender(client, prefix="br", timeout=timedelta(seconds=20))
    engine.pause()
    try:
        first = asyncio.create_task(sender.send([post("note")]))
        await asyncio.sleep(0)
        second = asyncio.create_task(sender.send([post("note")]))
        await asyncio.sleep(0)
        sender._pump.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)
    finally:
        engine.resume()
        await client.aclose()


def test_nobody_waits_for_ever_for_a_sender_that_was_interrupted(engine: Engine):
    told = asyncio.run(_told_when_interrupted(engine))

    assert [type(one) for one in told] == [QueueAway, QueueAway]
