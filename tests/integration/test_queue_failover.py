"""The primary dies, and everybody goes on with its successor: behind Sentinel, and in a cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
import redis

from backroom.cli._checks import check_valkey
from backroom.domain.errors import QueueAway
from backroom.queue.answers import Answers, AsyncAnswers
from backroom.queue.hot import AsyncHot, HotPut
from backroom.queue.open import open_async_client, open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import AsyncSender, Sender
from tests.integration.queue_engine import actor, post, until, working
from tests.integration.queue_engines import PREFIX, Cluster, SentinelSet, Several, moved, running

# What a failover takes here is two or three seconds; the rest is patience with a busy machine.
PATIENCE = 60.0


@pytest.fixture(params=[SentinelSet, Cluster], ids=["sentinel", "cluster"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Several]:
    with running(request.param(tmp_path)) as engines:
        yield engines


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    with running(SentinelSet(tmp_path)) as engines:
        yield engines


class Producer:
    """Sends one message after the other, each until it is accepted, as a careful application does."""

    def __init__(self, url: str) -> None:
        self.client = open_client(url, prefix=PREFIX)
        self.sender = Sender(self.client, prefix=PREFIX)
        self.accepted: list[str] = []
        self.refused = 0
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def send(self, name: str) -> None:
        message = post("note", name)
        while not self.enough.is_set():
            try:
                self.sender.send([message])
            except QueueAway:
                self.refused += 1
                self.enough.wait(0.05)
            else:
                self.accepted.append(name)
                return

    def _run(self) -> None:
        n = 0
        while not self.enough.is_set():
            self.send(f"load{n}")
            n += 1
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.thread.join(PATIENCE)
        self.client.close()


def nothing_left(engines: Several) -> bool:
    with open_client(engines.url, prefix=PREFIX) as client:
        depth = Queues(client, prefix=PREFIX).depths()["work"]
    return not (depth.ready or depth.delayed or depth.inflight)


def has_accepted(producer: Producer, more: int) -> Callable[[], bool]:
    enough = len(producer.accepted) + more
    return lambda: len(producer.accepted) >= enough


def test_what_was_accepted_runs_though_the_primary_is_killed(engines: Several):
    ran: Counter[str] = Counter()

    def note(message: dict[str, str]) -> None:
        ran[message["n"]] += 1

    with working(engines, actor("note", note)):
        with Producer(engines.url) as producer:
            until(has_accepted(producer, 100), within=PATIENCE)
            safe = list(producer.accepted)
            assert engines.replicated()
            old = engines.primary()

            old.kill()

            unsure = list(producer.accepted)
            until(lambda: moved(engines, away_from=old), within=PATIENCE)
            until(has_accepted(producer, 200), within=PATIENCE)
        until(lambda: nothing_left(engines), within=PATIENCE)

    # What was accepted in the moment before the kill may have died with the only copy: replication is not waited for.
    promised = {*safe, *producer.accepted[len(unsure) :]}
    assert promised <= set(ran)
    assert producer.refused


def test_the_old_primary_comes_back_and_leads_nobody_astray(engines: Several):
    ran: Counter[str] = Counter()

    def note(message: dict[str, str]) -> None:
        ran[message["n"]] += 1

    with working(engines, actor("note", note)), Producer(engines.url) as producer:
        until(has_accepted(producer, 20), within=PATIENCE)
        old = engines.primary()
        old.kill()
        until(lambda: moved(engines, away_from=old), within=PATIENCE)
        old.start()
        until(lambda: not old.is_primary(), within=PATIENCE)
        new = engines.primary()

        # Once more, back to the first: a client that had stayed with it would have gone on writing all the time.
        until(has_accepted(producer, 50), within=PATIENCE)
        until(engines.replicated, within=PATIENCE)
        safe = list(producer.accepted)
        new.kill()
        until(lambda: moved(engines, away_from=new), within=PATIENCE)
        until(has_accepted(producer, 50), within=PATIENCE)
        until(lambda: nothing_left(engines), within=PATIENCE)

    assert set(safe) <= set(ran)


def test_a_primary_that_hangs_is_left_after_a_time_out(engines: Several):
    ran: Counter[str] = Counter()

    def note(message: dict[str, str]) -> None:
        ran[message["n"]] += 1

    with (
        working(engines, actor("note", note)),
        open_client(engines.url, prefix=PREFIX, timeout=timedelta(seconds=1)) as client,
    ):
        sender = Sender(client, prefix=PREFIX)
        sender.send([post("note", "before")])
        until(lambda: ran["before"], within=PATIENCE)
        old = engines.primary()

        old.pause()

        until(lambda: moved(engines, away_from=old), within=PATIENCE)
        until(lambda: _accepted(sender, "after"), within=PATIENCE)
        until(lambda: ran["after"], within=PATIENCE)


def _accepted(sender: Sender, name: str) -> bool:
    try:
        sender.send([post("note", name)])
    except QueueAway:
        return False
    return True


def test_an_acknowledgement_is_repeated_until_the_successor_has_it(engines: Several):
    may_end = threading.Event()
    begun: list[str] = []

    def note(message: dict[str, str]) -> None:
        begun.append(message["n"])
        may_end.wait(PATIENCE)

    with (
        open_client(engines.url, prefix=PREFIX) as client,
        working(engines, actor("note", note), lease=timedelta(seconds=30)),
    ):
        Sender(client, prefix=PREFIX).send([post("note", "long", id="m1")])
        until(lambda: begun, within=PATIENCE)
        until(engines.replicated, within=PATIENCE)
        old = engines.primary()
        old.kill()
        may_end.set()
        until(lambda: moved(engines, away_from=old), within=PATIENCE)

        until(lambda: _state(engines, "m1") == "done", within=PATIENCE)

    assert begun == ["long"]


def _state(engines: Several, id: str) -> str:
    with open_client(engines.url, prefix=PREFIX) as client:
        try:
            return Queues(client, prefix=PREFIX).find(id)[0]
        except QueueAway:
            return "away"


def test_a_front_door_goes_on_by_itself(engines: Several):
    async def story() -> None:
        client = open_async_client(engines.url, prefix=PREFIX, timeout=timedelta(milliseconds=800))
        sender = AsyncSender(client, prefix=PREFIX, timeout=timedelta(milliseconds=800))
        hot = AsyncHot(client, prefix=PREFIX)
        answers = AsyncAnswers(client, prefix=PREFIX)
        put = HotPut(key="s1", value=b"basket", expected=None, ttl=timedelta(hours=1))
        try:
            assert await sender.put_and_send(put, [post("note", "before")]) == 1
            assert await answers.wait("nobody", timeout=timedelta(milliseconds=10)) is None
            # Idle connections to the primary, all of which will be wrong.
            await asyncio.gather(*(hot.get("s1") for _ in range(20)))
            await asyncio.to_thread(until, engines.replicated, within=PATIENCE)
            old = engines.primary()

            old.kill()

            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await sender.send([post("note", "after")])
                        break
                    except QueueAway:
                        await asyncio.sleep(0.05)
            found = await asyncio.gather(*(hot.get("s1") for _ in range(20)))
            assert {value and value.value for value in found} == {b"basket"}
            with open_client(engines.url, prefix=PREFIX) as giving:
                Answers(giving, prefix=PREFIX).give("m1", b"done")
            assert await answers.wait("m1", timeout=timedelta(seconds=5)) == b"done"
        finally:
            await sender.close()
            await answers.close()
            await client.aclose()

    asyncio.run(story())


def test_a_node_that_was_made_a_replica_is_left_with_the_next_command(sentinels: SentinelSet):
    old = sentinels.primary()
    with open_client(sentinels.url, prefix=PREFIX) as client:
        client.set("before", "1")
        # The client's idle connection stays open, unlike after a failover by Sentinel, which ends them all.
        until(sentinels.replicated, within=PATIENCE)
        sentinels.guards[0].ask("SENTINEL", "FAILOVER", "house")
        until(lambda: moved(sentinels, away_from=old), within=PATIENCE)
        until(lambda: not old.is_primary(), within=PATIENCE)

        Sender(client, prefix=PREFIX).send([post("note", id="m1")])

        assert client.connection_pool.connection_kwargs["route"].current.port == sentinels.primary().port


def test_the_doctor_knows_what_stands_behind_the_address(engines: Several):
    found = check_valkey(engines.url, prefix=PREFIX)
    assert (found.state, "min-replicas-to-write" in found.mend) == ("doubtful", True)

    for node in engines.nodes:
        node.ask("CONFIG", "SET", "min-replicas-to-write", 1, "appendfsync", "always")
    assert check_valkey(engines.url, prefix=PREFIX).state == "ok"

    for node in (*engines.guards, *engines.nodes):
        node.kill()
    away = check_valkey(engines.url, prefix=PREFIX)
    assert away.state == "broken"
    assert "nobody who was asked knows the primary" in away.found


def test_an_unknown_service_is_named_as_such(sentinels: SentinelSet):
    found = check_valkey(sentinels.url.replace("/house", "/hoose"), prefix=PREFIX)

    assert found.state == "broken"
    assert "No such master" in found.found


def test_sentinels_and_nodes_have_users_of_their_own(sentinels: SentinelSet):
    for node in sentinels.nodes:
        node.ask("ACL", "SETUSER", "house", "on", ">h%", "~*", "+@all")
    for guard in sentinels.guards:
        guard.ask("ACL", "SETUSER", "guest", "on", ">g@", "-@all", "+ping", "+sentinel|master")
    hosts = sentinels.url.removeprefix("redis+sentinel://")
    url = f"redis+sentinel://house:h%25@{hosts}?sentinel_username=guest&sentinel_password="

    with open_client(url + "g%40", prefix=PREFIX) as client:
        Sender(client, prefix=PREFIX).send([post("note")])
    for wrong in (url + "secret", url.replace(":h%25@", ":secret@") + "g%40"):
        with open_client(wrong, prefix=PREFIX) as client, pytest.raises(QueueAway, match="Authentication") as refused:
            Sender(client, prefix=PREFIX).send([post("note")])
        assert "secret" not in str(refused.value)


def test_sentinels_that_hang_or_are_gone_are_passed_over(sentinels: SentinelSet):
    sentinels.guards[0].pause()
    sentinels.guards[1].kill()

    async def send() -> None:
        timeout = timedelta(seconds=5)
        async with open_async_client(sentinels.url, prefix=PREFIX, timeout=timeout) as client:
            await AsyncSender(client, prefix=PREFIX, timeout=timeout).send([post("note")])

    asyncio.run(send())
    with open_client(sentinels.url, prefix=PREFIX) as client:
        Sender(client, prefix=PREFIX).send([post("note")])


def test_no_command_is_repeated_where_its_outcome_is_unknown(engines: Several):
    with open_client(engines.url, prefix=PREFIX, timeout=timedelta(seconds=1)) as client:
        key = f"{{{PREFIX}}}:count"
        client.incr(key)
        primary = engines.primary()
        primary.pause()
        with pytest.raises(redis.TimeoutError):
            client.incr(key)
        primary.resume()

        # Whoever is the primary by now: one try was all.
        until(lambda: _count(engines, key), within=PATIENCE)
        assert _count(engines, key) <= 2


def _count(engines: Several, key: str) -> int:
    try:
        with open_client(engines.url, prefix=PREFIX) as client:
            return int(client.get(key) or 0)
    except redis.RedisError:
        return 0
