"""What dies in the engine room is replaced alone, and what it held goes on elsewhere at once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.e2e.workers_crew import LONG_LEASE_MS, SHELF, Crew, alive, crew
from tests.house import until

pytestmark = pytest.mark.e2e

# Far below the lease, and patient with a busy machine.
SOON = LONG_LEASE_MS / 1000 - 15


def gone(*pids: int) -> bool:
    return not any(alive(pid) for pid in pids)


def both_busy(found: Crew) -> set[int]:
    """Two processes with two threads each, all of which have begun something."""
    until(lambda: found.working() == 2, what="both have reported for work")
    # More than one of them would take.
    found.send("hold", *range(8))
    until(lambda: len(found.runs("begun")) == 4, what="every thread has begun")
    pids = {pid for _, pid in found.runs("begun")}
    assert len(pids) == 2
    return pids


def test_one_that_is_killed_is_replaced_alone_and_what_it_held_runs_again_at_once(house, tmp_path):
    with crew(house, tmp_path, "--processes", 2, "--threads", 2) as found:
        killed, other = both_busy(found)
        held = {n for n, pid in found.runs("begun") if pid == killed}
        killed_at = time.monotonic()

        os.kill(killed, signal.SIGKILL)

        until(lambda: all(found.counted("begun")[n] == 2 for n in held), within=SOON, what="they run again")
        took = time.monotonic() - killed_at
        found.go()
        until(lambda: len(found.counted("ended")) == 8, what="all have ended")
        assert took < LONG_LEASE_MS / 1000
        assert set(found.counted("ended").values()) == {1}
        assert other in found.children(), "the other was not replaced"
        undisturbed = {n for n, pid in found.runs("begun")[:4] if pid == other}
        assert {n for n, pid in found.runs("ended") if pid == other} >= undisturbed
        assert [event["end"] for event in found.events("child.died")] == ["SIGKILL"]
        (released,) = found.events("child.released")
        assert released["messages_back"] >= len(held)


def test_a_job_that_kills_its_process_again_and_again_is_buried(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1) as found:
        (id,) = found.send("die", 1)

        until(lambda: house.queues().find(id)[0] == "dead", within=120, what="it is a dead letter")

        assert found.counted("begun")[1] == 5
        (letter,) = house.queues().dead()
        assert letter.reason.startswith("poison")
        found.send("note", 2)
        until(lambda: found.counted("NOTED")[2] == 1, within=60, what="the others go on")


def test_what_a_dead_one_held_is_released_when_the_queue_is_back(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1) as found:
        found.send("hold", 1)
        until(lambda: found.runs("begun"), what="it has begun")
        (_, pid) = found.runs("begun")[0]
        client = house.queues()._client
        # Blocks every command that writes, from everybody.
        client.execute_command("CLIENT", "PAUSE", 12_000, "WRITE")

        os.kill(pid, signal.SIGKILL)

        until(lambda: found.events("child.release_waiting"), what="the supervisor waits")
        found.go()
        until(lambda: found.counted("ended")[1] == 1, within=SOON, what="it has run again")


def test_a_start_that_fails_again_and_again_is_tried_more_and_more_seldom(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, shelf="raise SystemExit(3)") as found:
        until(lambda: len(found.events("child.died")) == 4, within=90, what="it has failed four times")

        assert [event["again_in"] for event in found.events("child.died")] == [1, 2, 4, 8]
        assert {event["end"] for event in found.events("child.died")} == {"exit code 3"}
        # Whoever has mended the code need not wait for the next try.
        found.shelf.write_text(SHELF, encoding="utf-8")
        found.tell(signal.SIGHUP)
        found.send("note", 1)
        until(lambda: found.counted("NOTED")[1] == 1, what="it works")


def test_workers_whose_supervisor_is_killed_stop_in_order_and_leave(house, tmp_path):
    with crew(house, tmp_path, "--processes", 2, "--threads", 2) as found:
        pids = both_busy(found)

        os.kill(found.process.pid, signal.SIGKILL)

        until(lambda: found.house.queues().depths()["default"].inflight == 4, what="what had not begun is back")
        found.go()
        until(lambda: gone(*pids), within=60, what="no orphan is left")
        assert found.counted("ended") == dict.fromkeys({n for n, _ in found.runs("begun")}, 1)
        assert not house.queues().workers(), "they took leave, rather than being missed"
        assert house.queues().depths()["default"].ready == 4


def test_orphans_that_are_busy_leave_when_the_stop_window_is_over(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, "--stop-within", 2) as found:
        found.send("hold", 1)
        until(lambda: found.runs("begun"), what="it has begun")
        pids = found.children()

        os.kill(found.process.pid, signal.SIGKILL)

        until(lambda: gone(*pids), within=60, what="no orphan is left")
        assert house.queues().depths()["default"].ready == 1
        assert len(found.events("worker.orphaned")) == 1


def test_workers_whose_supervisor_is_killed_while_they_start_never_begin(house, tmp_path):
    with crew(house, tmp_path, "--processes", 2) as found:
        pids = until(found.children, what="there is a worker")

        os.kill(found.process.pid, signal.SIGKILL)

        until(lambda: gone(*pids), within=60, what="no orphan is left")
        assert not house.queues().workers()


def test_a_group_that_is_told_to_stop_ends_once_and_in_order(house, tmp_path):
    with crew(house, tmp_path, "--processes", 2, "--threads", 2) as found:
        both_busy(found)

        os.killpg(found.process.pid, signal.SIGTERM)

        until(lambda: found.house.queues().depths()["default"].inflight == 4, what="what had not begun is back")
        found.tell(signal.SIGTERM)
        found.go()
        assert found.process.wait(60) == 0
        assert found.counted("ended") == dict.fromkeys({n for n, _ in found.runs("begun")}, 1)
        assert not house.queues().workers()
        assert not found.events("child.killed")


def test_what_runs_when_the_stop_window_is_over_goes_back_uncounted(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, "--stop-within", 1) as found:
        (id,) = found.send("hold", 1)
        until(lambda: found.runs("begun"), what="it has begun")

        found.tell(signal.SIGTERM)

        assert found.process.wait(60) == 0
        assert [event["why"] for event in found.events("child.killed")] == ["stop window"]
        assert house.queues().find(id)[0] == "queued"
        assert not house.queues().workers()
        client = house.queues()._client
        assert client.hget(f"{{{house.settings.key_prefix}}}:deliveries", id) is None


def test_who_asks_again_after_a_while_hurries(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, "--stop-within", 600) as found:
        (id,) = found.send("hold", 1)
        until(lambda: found.runs("begun"), what="it has begun")

        found.tell(signal.SIGTERM)
        until(lambda: found.events("supervisor.stopping"), what="it has heard")
        # A copy of the same request: nothing is cut.
        found.tell(signal.SIGTERM)
        time.sleep(2.5)
        assert found.process.poll() is None
        found.tell(signal.SIGTERM)

        assert found.process.wait(60) == 0
        assert [event["why"] for event in found.events("child.killed")] == ["hurry"]
        assert house.queues().find(id)[0] == "queued"
