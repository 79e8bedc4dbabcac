"""A user of the engine with the documented rights can do the work of its door, and nothing beside it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from backroom.cli._checks import check_valkey
from backroom.domain.errors import QueueAway, Rejected
from backroom.queue.answers import Answers, AsyncAnswers
from backroom.queue.hot import AsyncHot, HotPut
from backroom.queue.notes import AsyncNotes
from backroom.queue.open import open_async_client, open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import AsyncSender, Sender
from tests.integration.queue_engine import actor, post, until, working
from tests.integration.queue_engines import Node

PAGE = Path(__file__).parents[2] / "docs/how-to/run-on-sentinel-or-cluster.md"
LUA = Path(__file__).parents[2] / "backroom/queue/lua"
WAIT = timedelta(seconds=5)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """An engine with the users of the page."""
    node = Node(tmp_path, "node")
    node.start()
    for rule in rules():
        node.ask("ACL", "SETUSER", *rule)
    yield node
    node.stop()


def rules() -> list[list[str]]:
    found = re.findall(r"^user (backroom-\S+ .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [rule.split() for rule in found]


class As:
    """An engine as one of the users sees it; the passwords are those of the page."""

    def __init__(self, node: Node, user: str, *, prefix: str = "br") -> None:
        (password,) = (word[1:] for rule in rules() if rule[0] == user for word in rule if word.startswith(">"))
        self.url = f"redis://{user}:{password}@127.0.0.1:{node.port}/0"
        self.prefix = prefix


def test_the_page_has_a_rule_for_each_door():
    assert [rule[0] for rule in rules()] == ["backroom-web", "backroom-worker", "backroom-people"]


def test_the_doors_do_their_work_with_the_documented_rights(node: Node):
    ran: list[str] = []

    def note(message: dict[str, str]) -> None:
        ran.append(message["n"])
        if message["n"] == "dies":
            raise Rejected("no")

    async def ask_at_the_door() -> None:
        async with open_async_client(As(node, "backroom-web").url) as client:
            sender, hot = AsyncSender(client, prefix="br", timeout=WAIT), AsyncHot(client, prefix="br")
            put = HotPut(key="s", value=b"1", expected=None, ttl=WAIT)
            assert await sender.put_and_send(put, [post("note", "hot")]) == 1
            await sender.send([post("note", "dies"), post("note", "later", delay=timedelta(milliseconds=50))])
            assert await hot.get("s")
            assert not await hot.fill("s", version=1, value=b"1", ttl=WAIT)
            await AsyncNotes(client, prefix="br").leave("n", ttl=WAIT)
            assert await AsyncNotes(client, prefix="br").missing(["n", "m"]) == ["m"]
            waiting = AsyncAnswers(client, prefix="br")
            with open_client(As(node, "backroom-worker").url) as worker:
                Answers(worker, prefix="br").give("m1", b"done")
            assert await waiting.wait("m1", timeout=WAIT) == b"done"
            await waiting.close()
            await sender.close()

    with working(As(node, "backroom-worker"), actor("note", note)) as broker:
        asyncio.run(ask_at_the_door())
        Sender(broker.client, prefix="br").send([post("note", "handed on")])
        until(lambda: set(ran) == {"hot", "dies", "later", "handed on"})
        with open_client(As(node, "backroom-people").url) as client:
            queues = Queues(client, prefix="br")
            until(lambda: not queues.depths()["work"].inflight)
            (dead,) = queues.dead()
            assert queues.workers()
            assert queues.retry(dead.id)
            assert client.info("server")
            assert client.config_get("appendonly")


@pytest.mark.parametrize("user", ["backroom-web", "backroom-worker", "backroom-people"])
def test_no_door_reaches_beyond_its_prefix_or_to_the_engine_itself(node: Node, user: str):
    with open_client(As(node, user).url) as client:
        client.set("{br}:mine", "1")
        # The guard before a full engine looks at this, and would be silent without it.
        assert client.info("memory")
        for command in (
            ("GET", "theirs"),
            ("KEYS", "*"),
            ("SCAN", "0"),
            ("FLUSHALL",),
            ("CONFIG", "SET", "appendonly", "no"),
            ("ACL", "LIST"),
            ("REPLICAOF", "NO", "ONE"),
            ("SHUTDOWN",),
            ("EVAL", "return 1", "0"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_a_user_without_the_rights_is_told_so(node: Node):
    node.ask("ACL", "SETUSER", "stranger", "on", ">pw", "~other:*", "+@all")
    node.ask("ACL", "SETUSER", "reader", "on", ">pw", "~{br}:*", "-@all", "+@read", "+evalsha", "+script|load", "+time")
    for user, reason in (("stranger", "No permissions to access a key"), ("reader", "no permissions to run")):
        with (
            open_client(f"redis://{user}:pw@127.0.0.1:{node.port}/0") as client,
            pytest.raises(QueueAway, match=reason),
        ):
            Sender(client, prefix="br").send([post("note")])
    with open_client(f"redis://stranger:wrong@127.0.0.1:{node.port}/0") as client, pytest.raises(QueueAway) as refused:
        Sender(client, prefix="br").send([post("note")])
    assert "AuthenticationError" in str(refused.value)
    assert "wrong" not in str(refused.value)


def test_a_worker_without_the_rights_says_so_and_works_once_it_has_them(node: Node):
    ran: list[str] = []

    def note(message: dict[str, str]) -> None:
        ran.append(message["n"])

    node.ask("ACL", "SETUSER", "backroom-worker", "-evalsha")
    with open_client(As(node, "backroom-web").url) as client, capture_logs() as logs:
        Sender(client, prefix="br").send([post("note", "waits")])
        with working(As(node, "backroom-worker"), actor("note", note)):
            until(lambda: any(log["event"] == "queue.away" for log in logs))
            assert {log["error"] for log in logs if log["event"] == "queue.away"} == {"NoPermissionError"}

            node.ask("ACL", "SETUSER", "backroom-worker", "+evalsha")

            until(lambda: ran == ["waits"])


def test_two_houses_on_one_engine_do_not_see_each_other(node: Node):
    ran: list[tuple[str, str]] = []

    def declare(house: str):
        def note(message: dict[str, str]) -> None:
            ran.append((house, message["n"]))

        return actor("note", note)

    class House:
        def __init__(self, prefix: str) -> None:
            self.url, self.prefix = f"redis://127.0.0.1:{node.port}/0", prefix

    with working(House("one"), declare("one")) as one, working(House("two"), declare("two")) as two:
        id = post("note").id
        for broker, name in ((one, "a"), (two, "b")):
            Sender(broker.client, prefix=broker.prefix).send([post("note", name, id=id)])
        until(lambda: len(ran) == 2)
        assert sorted(ran) == [("one", "a"), ("two", "b")]
        assert len(Queues(one.client, prefix="one").workers()) == 1
        keys = {key.decode().partition("}")[0] for key in one.client.keys("*")}
        assert keys == {"{one", "{two"}


def test_the_doctor_says_which_user_may_not_and_which_only_does_not_tell(node: Node):
    node.ask("ACL", "SETUSER", "stranger", "on", ">pw", "~other:*", "+@all")
    node.ask("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")
    stranger = f"redis://stranger:pw@127.0.0.1:{node.port}/0"

    found = {url: check_valkey(url, prefix="br") for url in (As(node, "backroom-people").url, stranger)}
    web = check_valkey(As(node, "backroom-web").url, prefix="br")

    assert [check.state for check in found.values()] == ["ok", "broken"]
    assert "No permissions to access a key" in found[stranger].found
    assert "run-on-sentinel-or-cluster.md" in found[stranger].mend
    assert web.state == "doubtful"
    assert "does not tell" in web.found


def test_every_command_of_every_script_is_among_the_documented_rights(node: Node):
    used = {
        name.lower()
        for script in LUA.glob("*.lua")
        for name in re.findall(r"\bp?call\(\s*'([A-Za-z]+)'", script.read_text("utf-8"))
    }
    assert {"hset", "time"} <= used

    for user, *words in rules():
        granted: set[str] = set()
        for word in words:
            if word.startswith("+@"):
                granted |= set(node.ask("COMMAND LIST", "FILTERBY", "ACLCAT", word[2:]))
            elif word.startswith("-@") and word != "-@all":
                granted -= set(node.ask("COMMAND LIST", "FILTERBY", "ACLCAT", word[2:]))
            elif word.startswith("+"):
                granted.add(word[1:])
        assert used - granted == set(), f"{user} may not run these: add them to its rule on the page"
