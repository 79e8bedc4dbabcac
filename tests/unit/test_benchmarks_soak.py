"""The soak: what it calls growth, what it asks for, what it sends."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backroom.shelf import Shelves
from benchmarks import _soak_mix as mix
from benchmarks.__main__ import app, names, usual
from benchmarks._soak_plot import draw
from benchmarks._soak_report import HAPPENS, PARTS, Seen, growth, report, slope
from benchmarks._soak_sender import Account
from benchmarks._soak_watch import (
    ENDS,
    ENTRIES,
    FILES,
    HELD,
    KEYS,
    MEMORY,
    OVERDUE,
    THREADS,
    USED,
    VALKEY,
    WAITING,
    Sample,
)
from benchmarks.frame.report import Check, Report

WARM_UP = timedelta(minutes=12)
JOBS_A_SECOND = 300
POINTER = 8 / 1_000_000  # MB


def sample(minute: float, **changes: float) -> Sample:
    """A quiet hour's, at this minute. What is given is of the worker, or of the engine."""
    values = {(name, who): 3.0 for name in (THREADS, FILES) for who in PARTS}
    values |= {(MEMORY, who): 70.0 for who in PARTS}
    values |= {(USED, VALKEY): 60.0, (KEYS, VALKEY): 900.0, (ENTRIES, VALKEY): 300_000.0}
    values |= {(ENDS, VALKEY): 180_000.0, (OVERDUE, VALKEY): 0.0, (WAITING, VALKEY): 20.0, (HELD, VALKEY): 0.0}
    for name, value in changes.items():
        what = name.replace("_", " ")
        values[what, VALKEY if (what, VALKEY) in values else "worker"] = value
    return Sample(
        at=60 * minute,
        values=values,
        entries={"done": 200_000, "workers": 1},
        seconds={"worker": 7 * minute},
        worker=11,
        ended=Counter({what: round(60 * minute * JOBS_A_SECOND) for what in HAPPENS}),
    )


def hour(minutes: int = 60) -> list[Sample]:
    return [sample(minute) for minute in range(1, minutes + 1)]


BEFORE = sample(0, used_memory=2.0, keys=1, entries=1)
# A thousand ends that are kept for an hour have a name and a story each.
LEFT = sample(73, used_memory=2.5, keys=20, entries=2_040, ends_that_are_remembered=1_000)


def told(samples: list[Sample], *, left: Sample | None = LEFT) -> Report:
    seen = Seen(before=BEFORE, loaded=samples, left=left, account=Account(sent=1))
    return report(seen, warm_up=WARM_UP, setup={"warm-up minutes": 12})


def check(words: str, samples: list[Sample], *, left: Sample | None = LEFT) -> Check:
    (one,) = [check for check in told(samples, left=left).checks if words in check.name]
    return one


def test_a_quiet_hour_reaches_every_target():
    assert [one.name for one in told(hour()).checks if not one.ok] == []


def test_a_leak_of_one_pointer_for_each_job_is_found_through_noise():
    chance = random.Random(7)
    samples = [
        sample(minute, private_memory=70 + 60 * minute * JOBS_A_SECOND * POINTER + chance.uniform(-1, 1))
        for minute in range(1, 61)
    ]

    found = check("private memory, worker", samples)

    assert found.value == pytest.approx(3600 * JOBS_A_SECOND * POINTER, rel=0.2)
    assert not found.ok


def test_garbage_that_comes_and_goes_is_no_growth():
    samples = [sample(minute, private_memory=70 + minute % 7) for minute in range(1, 61)]

    assert check("private memory, worker", samples).ok


def test_what_fills_while_it_warms_up_is_no_growth():
    samples = [sample(minute, private_memory=min(40 + 3 * minute, 70)) for minute in range(1, 61)]

    assert check("private memory, worker", samples).value == 0


def test_a_few_wild_samples_do_not_make_a_trend():
    points = [(float(at), 900.0 if at in {3, 58, 59} else 70.0) for at in range(60)]

    assert slope(points) == 0
    assert slope([(1.0, 5.0)]) is None


@pytest.mark.parametrize("name", ["threads", "open files"])
def test_what_grows_from_minute_to_minute_is_missed(name: str):
    samples = [sample(minute, **{name.replace(" ", "_"): 3 + 0.1 * minute}) for minute in range(1, 61)]

    missed = [one.name for one in told(samples).checks if not one.ok]

    assert missed == [f"growth in an hour, {name}, worker, at most"]


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("messages that queues count", {"messages_that_queues_count": 1}, 1),
        ("used memory", {"used_memory": 5.5}, 3.5),
        ("keys", {"keys": 70}, 70),
        ("entries", {"entries": 2_300}, 300),
        ("entries", {"ends_that_are_remembered": 900}, 240),
    ],
)
def test_what_valkey_does_not_forget_is_missed(name: str, changes: dict[str, float], value: float):
    left = replace(
        LEFT, values={**LEFT.values, **{(what.replace("_", " "), VALKEY): to for what, to in changes.items()}}
    )

    missed = [one for one in told(hour(), left=left).checks if not one.ok]

    assert [one.name for one in missed] == [f"left after a rest, {name}, Valkey, at most"]
    assert missed[0].value == value


def test_what_valkey_holds_under_load_may_go_up_and_down_with_the_load():
    samples = [sample(minute, entries=300_000 + 2_000 * minute, used_memory=60 + minute) for minute in range(1, 61)]

    assert all(one.ok for one in told(samples).checks)


def test_a_short_run_says_what_it_did_not_measure():
    report = told(hour(minutes=20), left=None)

    missed = [one for one in report.checks if not one.ok]
    assert len(missed) == len(report.checks) - 4
    assert all(one.name.endswith("(not measured)") for one in missed)
    assert not [one for one in report.figures if "growth" in one.name or "rest" in one.name]


def test_one_sample_has_no_rate():
    assert check("jobs done a second", hour(minutes=3)).name == "jobs done a second, at least (not measured)"


def test_what_nobody_has_seen_has_no_growth():
    samples = [
        replace(one, values={what: value for what, value in one.values.items() if "isolated jobs" not in what})
        for one in hour()
    ]

    assert growth(samples, (MEMORY, "isolated jobs")) is None
    assert check("private memory, isolated jobs", samples).name.endswith("(not measured)")


def test_an_hour_in_which_something_never_happened_proves_nothing():
    samples = hour()
    samples[-1].ended["retried", "soak.fail"] = 0

    assert not check("kinds of ends", samples).ok
    assert told(samples).setup["did not happen"] == "retried soak.fail"


def test_a_machine_that_was_too_busy_for_the_load_is_told():
    samples = [*hour(), sample(61, jobs_that_wait_in_line=9_417)]

    assert told(samples).setup["note"] == "9,417 jobs waited at the worst: the machine was too busy"
    assert "note" not in told(hour()).setup


def test_a_worker_that_was_replaced_has_not_lasted_the_hour():
    samples = [*hour()[:-1], replace(sample(60), worker=12)]

    assert check("worker processes", samples).value == 2
    assert not check("worker processes", samples).ok


def test_a_moment_without_a_worker_counts_as_no_process():
    samples = hour()
    samples[30] = replace(samples[30], worker=None)

    assert check("worker processes", samples).ok


def test_an_end_that_is_remembered_too_long_is_told():
    samples = hour()
    samples[40] = sample(41, ends_beyond_their_time=3)

    assert check("remembered too long", samples).value == 3


def test_each_part_of_the_mix_is_sent_at_its_rate():
    made = mix.Mix()

    first, second = (Counter(wish.post.job for wish in made.due(seconds)) for seconds in (100.0, 200.0))

    assert sum(first.values()) == pytest.approx(100 * mix.RATE, rel=0.001)
    assert first == second, "and nothing is sent twice"
    assert first["soak.step"] == 1_000
    assert first[mix.UNKNOWN] == 10


def test_every_job_of_the_shelf_is_sent_or_handed_on_and_watched():
    shelf = {name for name in Shelves([mix.SHELF]).jobs if name.startswith("soak.")}
    sent = {wish.post.job for wish in mix.Mix().due(20)}

    assert sent == shelf | {mix.UNKNOWN}
    # What expires is counted nowhere, so only the engine's keys tell.
    assert {job for _, job in HAPPENS} == shelf - {"soak.stale"}


def test_the_soak_runs_only_where_it_is_named():
    assert set(names()) - set(usual()) == {"soak"}
    # However wide the terminal is.
    assert "soak" in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output


def test_the_plot_is_drawn_twice(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="only `make bench` installs it")

    paths = draw(told(hour()), tmp_path / "images")

    assert [path.name for path in paths] == ["soak-benchmark.png", "soak-benchmark.svg"]
    assert all(path.stat().st_size > 10_000 for path in paths)
