"""The slot of a house moves to another node of the cluster, and nothing falls between the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from backroom.domain.errors import QueueAway
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from tests.integration.queue_engine import actor, post, until, working
from tests.integration.queue_engines import PREFIX, Cluster, running

SLOT = key_slot(f"{{{PREFIX}}}:".encode())
PATIENCE = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running(Cluster(tmp_path)) as cluster:
        yield cluster


class Story:
    """A worker at work, and what it has run."""

    def __init__(self) -> None:
        self.ran: Counter[int] = Counter()

    def note(self, message: dict[str, int]) -> None:
        self.ran[message["n"]] += 1


def is_empty(cluster: Cluster) -> bool:
    try:
        with open_client(cluster.url, prefix=PREFIX) as client:
            depth = Queues(client, prefix=PREFIX).depths()["work"]
    except (QueueAway, KeyError):
        return False
    return not (depth.ready or depth.delayed or depth.inflight)


def send(sender: Sender, n: int) -> bool:
    try:
        sender.send([post("note", n, id=f"m{n}")])
    except QueueAway:
        return False
    return True


def test_while_a_slot_moves_key_by_key_nothing_is_done_and_afterwards_all_of_it(cluster: Cluster):
    story = Story()
    source, target = cluster.primary(), cluster.other_primary()
    with open_client(cluster.url, prefix=PREFIX) as client:
        sender = Sender(client, prefix=PREFIX)
        sender.send([post("note", n, id=f"m{n}") for n in range(20)])
        target.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target.ask("CLUSTER", "MYID"))

        with working(cluster, actor("note", story.note)):
            with pytest.raises(QueueAway, match="AskError"):
                sender.send([post("note", 20)])
            # A script at the new node would have met an empty queue there, and left keys that bar the way of ours.
            assert target.ask("CLUSTER", "COUNTKEYSINSLOT", SLOT) == 0
            assert not story.ran
            while keys := source.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 100):
                source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            for node in (target, source):
                node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", target.ask("CLUSTER", "MYID"))

            until(lambda: send(sender, 20), within=PATIENCE)
            until(lambda: is_empty(cluster), within=PATIENCE)

    assert set(story.ran) == set(range(21))
    assert cluster.primary() is target


def test_a_slot_that_moves_as_a_whole_is_followed_at_once(cluster: Cluster):
    story = Story()
    source, target = cluster.primary(), cluster.other_primary()
    with open_client(cluster.url, prefix=PREFIX) as client, working(cluster, actor("note", story.note)):
        sender = Sender(client, prefix=PREFIX)
        assert send(sender, 0)

        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.ask("CLUSTER", "MYID"))

        for n in range(1, 100):
            until(lambda: send(sender, n), within=PATIENCE)  # noqa: B023
        until(lambda: cluster.primary() is target, within=PATIENCE)
        assert send(sender, 100)
        until(lambda: is_empty(cluster), within=PATIENCE)

    assert set(story.ran) == set(range(101))
