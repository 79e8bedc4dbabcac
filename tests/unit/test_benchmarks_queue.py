"""The queue's benchmark: which targets there are, who is held against whom, what is said of who is not there."""

from __future__ import annotations

import ast
import os
import re
import struct
import sys
import threading
from pathlib import Path

import pytest

from benchmarks._queue_course import Course
from benchmarks._queue_crew import Party, Stuck
from benchmarks._queue_found import Found
from benchmarks._queue_plot import draw
from benchmarks._queue_report import report
from benchmarks._queue_turns import Delayed, Looks, Turn, Wounded
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Check
from benchmarks.peers import _shelf
from benchmarks.peers._place import Place, Side
from benchmarks.peers._shelf import Entry, entries
from benchmarks.peers._tally import Tally
from benchmarks.queue import muster

README = Path(__file__).parents[2] / "benchmarks" / "README.md"
# The rows of the table that a benchmark can hold: what is compared, and what is asked for.
TABLE = [
    ("one Valkey call per job, two processes, ours against stock at its best", 2),
    ("one Valkey call per job, two processes, ours against the fastest Python peer", 2),
    ("one Valkey call per job, two processes, ours against Celery", 10),
    ("no-op jobs, one process, ours against stock with 8 threads", 10),
    ("enqueue with appendfsync always, coalesced against one by one", 10),
    ("pick-up by an idle worker, p50", 3),
    ("pick-up by an idle worker, p99", 10),
    ("enqueue in bulk, ours against stock one by one", 10),
    ("batch job writing rows, against one at a time", 10),
    ("idle worker, share of a core", 1),
]


def turn(drain: float, *, one_by_one: float = 1_000, bulk: float | None = None, looks: Looks | None = None) -> Turn:
    return Turn(one_by_one=one_by_one, bulk=bulk, drain=drain, looks=looks)


def looks() -> Looks:
    return Looks(pick_ups=[1.0, 2.0, 8.0], idle_percent=0.2, megabytes=40, loaded=[2.0], offered=500)


def found() -> Found:
    return Found(
        one={
            "always": {
                "ours": [turn(20_000, bulk=50_000, looks=looks())],
                "stock, 8 threads": [turn(2_000, one_by_one=2_500, looks=looks())],
            },
            "everysec": {"ours": [turn(30_000, bulk=60_000)], "stock, 8 threads": [turn(2_000, one_by_one=5_000)]},
        },
        two={
            "always": {
                "ours": [turn(12_000)],
                "stock, 8 threads": [turn(3_000)],
                "stock, 32 threads": [turn(4_000)],
                "Celery, prefork": [turn(500)],
                "Celery, threads": [turn(1_000)],
                "Huey": [turn(6_000)],
            },
            "everysec": {"ours": [turn(12_000)], "stock, 32 threads": [turn(6_000)], "Huey": [turn(3_000)]},
        },
        senders=[(500, 10_000)],
        rows=[(1_000, 40_000)],
        delayed={"ours": Delayed(jobs=10, engine_bytes_each=300, worker_megabytes=0, rate=9_000)},
        ceiling={"hiredis": [200_000]},
    )


def check(words: str, checks: list[Check]) -> Check:
    (one,) = [check for check in checks if words in check.name]
    return one


@pytest.mark.parametrize("measured", [found(), Found()], ids=["measured", "nothing measured"])
def test_every_target_of_the_table_is_told(measured: Found):
    checks = report(measured, setup={}).checks

    assert [(check(words, checks).target) for words, _ in TABLE] == [target for _, target in TABLE]
    assert len(checks) == len(TABLE)


def test_what_was_not_measured_is_missed_and_says_so():
    checks = report(Found(), setup={}).checks

    assert not any(check.ok for check in checks)
    assert all(check.name.endswith(("at least (not measured)", "at most (not measured)")) for check in checks)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("stock at its best", 2),  # with everysec; always would give three
        ("the fastest Python peer", 2),  # Huey with always; everysec would give four
        ("against Celery", 12),  # its better one
        ("stock with 8 threads", 10),
        ("in bulk", 12),  # with everysec; always would give twenty
        ("coalesced", 20),
        ("batch job", 40),
        ("p50", 2),
        ("p99", 8),
        ("share of a core", 0.2),
    ],
)
def test_a_target_is_held_against_the_best_of_the_others_where_we_look_worse(words: str, value: float):
    assert check(words, list(report(found(), setup={}).checks)).value == value


def test_who_was_the_fastest_peer_is_told():
    setup = report(found(), setup={"cores": 2}).setup

    assert setup == {"cores": 2, "fastest Python peer, always": "Huey", "fastest Python peer, everysec": "Huey"}


def test_sides_are_compared_within_their_round():
    figures = {(one.name, one.side): one for one in report(found(), setup={}).figures}

    calls = figures["drain, one Valkey call per job, two processes, always", "ours / Huey"]
    assert (calls.values, calls.unit) == ((2,), "times")
    assert ("drain, one Valkey call per job, two processes, everysec", "ours / Celery, threads") not in figures


def test_a_peer_that_is_not_installed_is_told_and_left_out():
    ours = Entry(name="ours", requires=(), sides=(Side(name="ours", jobs=1, rank=0),))
    absent = Entry(name="nowhere", requires=("nowhere>=1",), sides=(Side(name="Nowhere", jobs=1),))

    parties, told = muster([absent, ours])

    assert [party.name for party in parties] == ["ours"]
    assert told == [
        "Nowhere: not installed, so left out; `python -m benchmarks.peers install nowhere` installs it",
    ]
    assert report(Found(), setup={"cores": 2}, notes=told).setup == {"cores": 2, "note 1": told[0]}


def test_a_peer_with_other_pins_than_ours_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_shelf, "ENVIRONMENTS", tmp_path)
    peer = next(entry for entry in entries() if entry.requires)
    assert not peer.installed

    peer.stamp.parent.mkdir()
    peer.stamp.write_bytes(peer.pins.read_bytes())
    assert peer.installed

    peer.stamp.write_text("something==1\n")
    assert not peer.installed


def test_a_side_that_gets_stuck_says_why_and_has_no_further_turn():
    wounded, begun = Wounded(), []

    def stuck() -> Turn:
        begun.append(1)
        raise Stuck("it said 'no module'")

    guarded = wounded.guard("RQ", stuck)

    assert (guarded(), guarded()) == (None, None)
    assert begun == [1]
    assert wounded.why == {"RQ": "RQ: it said 'no module'"}


@pytest.mark.parametrize("peer", entries(), ids=lambda peer: peer.name)
def test_each_peer_is_pinned_and_explained(peer: Entry):
    pins = peer.pins.read_text() if peer.requires else ""

    for requirement in peer.requires:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"^{name}(\[.*\])?==", pins, re.MULTILINE), f"{name} is not pinned"
    assert all("==" in line for line in pins.splitlines())
    for side in peer.sides:
        assert side.name.startswith("ours") or f"\n| {side.name.partition(',')[0]} |" in README.read_text()


def test_no_two_sides_have_the_same_name():
    names = [side.name for peer in entries() for side in peer.sides]

    assert len(names) == len(set(names))


SHARED = ["_place", "_tally", "_jobs", "_work", "_send", *(peer.name for peer in entries() if peer.requires)]


@pytest.mark.parametrize("name", SHARED)
def test_what_runs_in_a_peer_s_environment_imports_nothing_that_only_ours_has(name: str):
    tree = ast.parse((_shelf.SHELF / f"{name}.py").read_text())
    imported = {
        name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }

    assert imported <= {*sys.stdlib_module_names, "benchmarks"}


def test_a_place_reaches_a_process_through_its_environment(monkeypatch: pytest.MonkeyPatch):
    place = Place(side="a", valkey="redis://x", postgres="", tally="/t", processes=2, threads=8, durable=True)
    for name, value in place.environ().items():
        monkeypatch.setenv(name, value)

    assert Place.here() == place


def test_jobs_of_many_threads_are_all_counted(tmp_path: Path):
    tally = Tally(str(tmp_path))
    threads = [threading.Thread(target=lambda: [tally.count() for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.count(10)
    tally.waited(0)

    assert int.from_bytes((tmp_path / f"{os.getpid()}.ran").read_bytes(), "little") == 2_010
    assert struct.unpack("=d", (tmp_path / f"{os.getpid()}.waited").read_bytes())[0] > 0


def test_the_plot_is_drawn_twice(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="only `make bench` installs it")

    paths = draw(report(found(), setup={"cores": 2}), tmp_path / "images")

    assert [path.name for path in paths] == ["queue-benchmark.png", "queue-benchmark.svg"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def course(*, rounds_end: float, late: list[Party] | None = None) -> Course:
    quick = Plan(quick=True, rounds=1, rounds_end=rounds_end)
    return Course(plan=quick, parties=[], late=late or [], grounds={})


def test_a_quick_run_leaves_out_what_it_has_no_time_for_and_says_so():
    begun = []
    hurried = course(rounds_end=0)

    hurried.part("rows", lambda: begun.append(1))

    assert begun == []
    assert hurried.wounded.why == {"rows": "rows: no time is left in a quick run"}


def test_a_peer_that_had_no_turn_in_a_quick_run_is_told():
    rq = next(entry for entry in entries() if entry.name == "rq")
    turns: dict[str, list[Turn]] = {}

    said = course(rounds_end=0, late=[Party(entry=rq, side=side) for side in rq.sides]).latecomers(turns)

    assert (turns, said) == ({}, "no time in a quick run for RQ")
