"""A worker process that is spent, old or stuck is replaced, and no job pays for that which could have ended."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.workers_crew import LONG_LEASE_MS, SHELF, crew
from tests.house import until

pytestmark = pytest.mark.e2e

SOON = LONG_LEASE_MS / 1000 - 15


def test_who_has_done_its_number_of_jobs_is_replaced_and_finishes_what_it_does(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 2, "--recycle-after-jobs", 20) as found:
        found.send("hold", 1)
        until(lambda: found.runs("begun"), what="a job runs that does not end")
        first = found.children()

        found.send("note", *range(20))

        successors = until(lambda: found.children() - first, what="there is a successor")
        until(lambda: found.working() == 2, what="it has reported for work")
        found.send("note", *range(100, 110))
        until(lambda: {pid for n, pid in found.runs("NOTED") if n >= 100} == successors, what="it is at work")
        assert first <= found.children(), "the first may finish"
        found.go()
        until(lambda: found.children() == successors, what="then it goes")
        assert [pid for _, pid in found.runs("ended")] == list(first)
        assert set(found.counted("NOTED").values()) == {1}
        assert [event["why"] for event in found.events("child.replacing")] == ["jobs"]
        assert not found.events("child.died")


def test_who_has_grown_too_large_is_replaced(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, "--recycle-above-memory", 300) as found:
        first = until(found.children, what="there is a worker")
        found.send("note", 1)
        until(lambda: found.counted("NOTED")[1] == 1, what="it works")
        assert found.children() == first

        found.send("grow", 2)

        until(lambda: found.all_new(first), what="another one has its place")
        assert [event["why"] for event in found.events("child.replacing")] == ["memory"]
        assert found.counted("ended") == {2: 1}


def test_a_limit_below_what_a_fresh_one_takes_is_said_and_not_chased(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--recycle-above-memory", 5) as found:
        first = until(found.children, what="there is a worker")

        until(lambda: found.events("child.limit_too_low"), what="the operator is told")

        found.send("note", 1)
        until(lambda: found.counted("NOTED")[1] == 1, what="it works")
        assert found.children() == first
        assert not found.events("child.replacing")


def test_a_job_that_hangs_shows_where_and_its_process_is_replaced(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 2, "--grace", 4) as found:
        first = until(found.children, what="there is a worker")
        found.send("hang", 1)
        until(lambda: found.events("job.stuck"), within=60, what="it is found")
        # Only the next one sees that.
        found.go()

        until(lambda: found.all_new(first), within=60, what="another has its place")

        until(lambda: found.counted("ended")[1] == 1, within=SOON, what="the message ran again, without the obstacle")
        assert [event["job"] for event in found.events("job.stuck")] == ["test.hang"]
        assert [event["why"] for event in found.events("child.replacing")] == ["stuck"]
        assert [event["why"] for event in found.events("child.killed")] == ["stuck"]
        assert 'tests.py", line' in found.log()
        assert "in hang" in found.log()


def test_a_job_that_keeps_the_interpreter_to_itself_is_seen_from_outside(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 2, "--grace", 4) as found:
        first = until(found.children, what="there is a worker")
        found.send("grab", 1)
        until(lambda: found.events("child.silent"), within=60, what="it is found")
        # Only the next one sees that.
        found.go()

        until(lambda: found.all_new(first), within=60, what="another has its place")

        until(lambda: found.counted("ended")[1] == 1, within=SOON, what="the message ran again, without the obstacle")
        assert len(found.events("child.silent")) == 1
        assert [event["why"] for event in found.events("child.killed")] == ["silent"]
        assert "in grab" in found.log()


def test_stacks_are_shown_to_who_asks(house, tmp_path):
    with crew(house, tmp_path, "--processes", 2, "--threads", 1) as found:
        found.send("hold", 1)
        until(lambda: found.runs("begun"), what="a job runs")
        until(lambda: found.working() == 2, what="both have reported for work")

        found.tell(signal.SIGUSR1)

        until(lambda: "in hold" in found.log(), what="its stack is shown")
        found.go()
        until(lambda: found.counted("ended")[1] == 1, what="it has gone on")


def test_a_rolling_restart_brings_new_code_and_loses_and_doubles_nothing(house, tmp_path):
    with crew(house, tmp_path, "--processes", 2, "--threads", 2, "--stop-within", 4) as found:
        until(lambda: found.working() == 2, what="both have reported for work")
        first = found.children()
        found.send("hold", 0)
        until(lambda: found.runs("begun"), what="a job runs through all of it")
        found.send("note", *range(1, 200))
        until(lambda: len(found.runs("NOTED")) == 199, what="the old code works")
        found.shelf.write_text(SHELF.replace("NOTED", "ANEW"), encoding="utf-8")

        found.tell(signal.SIGHUP)

        fewest, sent = 2, 1_000
        until(lambda: found.events("child.replacing"), what="it has begun")
        while len(found.events("child.started")) < 4 or found.working() > 3:
            found.send("note", *range(sent, sent + 20))
            sent += 20
            fewest = min(fewest, found.working())
            time.sleep(0.05)
        found.go()
        until(lambda: found.all_new(first), within=60, what="all are new")
        found.send("note", *range(10_000, 10_050))
        total = 199 + (sent - 1_000) + 50
        until(lambda: len(found.runs("NOTED")) + len(found.runs("ANEW")) >= total, within=60, what="all have run")
        runs = found.counted("NOTED") + found.counted("ANEW")
        assert len(runs) == total
        assert set(runs.values()) == {1}
        assert {n for n, _ in found.runs("ANEW")} >= set(range(10_000, 10_050))
        assert found.counted("ended") == {0: 1}
        assert fewest >= 2
        assert [event["why"] for event in found.events("child.replacing")] == ["roll", "roll"]
        assert not found.events("child.died")
        assert not found.events("child.killed")


def test_new_code_that_cannot_start_leaves_the_old_at_work(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1) as found:
        until(lambda: found.working() == 1, what="it has reported for work")
        first = found.children()
        working_code = found.shelf.read_text(encoding="utf-8")
        found.shelf.write_text("raise SystemExit(3)\n", encoding="utf-8")

        found.tell(signal.SIGHUP)

        until(lambda: found.events("child.successor_failed"), what="it has failed")
        found.send("note", 1)
        until(lambda: found.counted("NOTED")[1] == 1, what="the old one works")
        assert found.children() == first
        found.shelf.write_text(working_code, encoding="utf-8")
        found.tell(signal.SIGHUP)
        until(lambda: found.all_new(first), within=90, what="the mended code is at work")


def test_queues_may_have_workers_of_their_own(house, tmp_path):
    with crew(house, tmp_path, "--queues", "quiet") as found:
        until(lambda: found.working() == 1, what="it has reported for work")
        (id,) = found.send("note", 1)
        until(lambda: found.events("child.started"), what="it is there")

        found.tell(signal.SIGTERM)

        assert found.process.wait(30) == 0
        assert house.queues().find(id)[0] == "queued"
