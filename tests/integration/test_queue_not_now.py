"""However an engine says "not now", senders are told so, and everybody goes on by himself when it is over."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from backroom.domain.errors import Full, QueueAway
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from tests.integration.queue_engine import actor, post, until, working
from tests.integration.queue_engines import Node

PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A way to say no: how it comes about, what it says, and how it ends."""

    begin: Callable[[Node], object]
    says: str
    end: Callable[[Node], object]
    # Whether what only takes messages out is refused, too.
    stops_work: bool = True


def config(*words: str | int) -> Callable[[Node], object]:
    return lambda node: node.ask("CONFIG", "SET", *words)


def follow_nobody(node: Node, *, stale: str) -> None:
    node.ask("CONFIG", "SET", "replica-serve-stale-data", stale)
    node.ask("REPLICAOF", "127.0.0.1", 1)


def fail_to_save(node: Node) -> None:
    snapshots = node.folder / "snapshots"
    snapshots.mkdir()
    node.ask("CONFIG", "SET", "dir", str(snapshots))
    node.ask("CONFIG", "SET", "save", "3600 1")
    shutil.rmtree(snapshots)
    node.ask("BGSAVE")
    until(lambda: node.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err")


def load_slowly(node: Node) -> None:
    with node.client() as client, client.pipeline(transaction=False) as steps:
        for n in range(2000):
            steps.set(f"filler{n}", n)
        steps.execute()
    node.ask("SAVE")
    node.kill()
    node.args += ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]
    node.begin()
    until(lambda: node.refusal().startswith("LOADING"), within=PATIENCE)


TROUBLES = {
    "replica": Trouble(
        begin=lambda node: follow_nobody(node, stale="yes"),
        says="NotServed.*does not take writes",
        end=lambda node: node.ask("REPLICAOF", "NO", "ONE"),
    ),
    "masterdown": Trouble(
        begin=lambda node: follow_nobody(node, stale="no"),
        says="NotServed.*does not take writes: MASTERDOWN",
        end=lambda node: node.ask("REPLICAOF", "NO", "ONE"),
    ),
    "noreplicas": Trouble(
        begin=config("min-replicas-to-write", 1), says="NOREPLICAS", end=config("min-replicas-to-write", 0)
    ),
    "oom": Trouble(
        begin=config("maxmemory", 1), says="OutOfMemoryError|is full", end=config("maxmemory", 0), stops_work=False
    ),
    "misconf": Trouble(begin=fail_to_save, says="MISCONF", end=config("stop-writes-on-bgsave-error", "no")),
    "noscript": Trouble(begin=lambda node: node.ask("SCRIPT", "FLUSH"), says="", end=lambda node: None),
    "loading": Trouble(
        begin=load_slowly, says="BusyLoadingError", end=lambda node: until(node.answers, within=PATIENCE)
    ),
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path, "node", "--enable-protected-configs", "yes")
    node.start()
    yield node
    node.stop()


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_it_is_said_and_it_passes(node: Node, trouble: Trouble):
    ran: list[str] = []
    may_end = threading.Event()

    def note(message: dict[str, str]) -> None:
        if message["n"] == "under way":
            may_end.wait(PATIENCE)
        ran.append(message["n"])

    class Address:
        url, prefix = f"redis://127.0.0.1:{node.port}/0", "br"

    with open_client(Address.url) as client, working(Address(), actor("note", note), lease=timedelta(seconds=30)):
        sender, queues = Sender(client, prefix="br"), Queues(client, prefix="br")
        sender.send([post("note", "under way", id="m1")])
        until(lambda: queues.depths()["work"].inflight == 1)

        trouble.begin(node)

        if trouble.says:
            with pytest.raises((QueueAway, Full), match=trouble.says):
                sender.send([post("note", "refused", id="m2")])
        may_end.set()
        until(lambda: "under way" in ran)
        if not trouble.stops_work:
            until(lambda: queues.find("m1")[0] == "done")
        trouble.end(node)
        until(lambda: _sent(sender), within=PATIENCE)
        until(lambda: "accepted" in ran, within=PATIENCE)
        until(lambda: queues.find("m1")[0] == "done", within=PATIENCE)

    assert "refused" not in ran


def _sent(sender: Sender) -> bool:
    try:
        sender.send([post("note", "accepted", id="m3")])
    except (QueueAway, Full):
        return False
    return True
