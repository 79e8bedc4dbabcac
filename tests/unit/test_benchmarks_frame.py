"""The benchmarks' frame: who has a turn when, what the figures say, what a program reads."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.frame.figures import figure, quantile, ratio, waits
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Check, Report, show, to_json
from benchmarks.frame.turns import Side, take_turns


class Clock:
    """Moves on when a side works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plan(*, rounds: int = 3, rounds_end: float = 1_000.0) -> Plan:
    return Plan(quick=False, rounds=rounds, rounds_end=rounds_end)


def working(name: str, said: list[str], clock: Clock, *, seconds: float = 1.0) -> Side[int]:
    def turn() -> int:
        said.append(name)
        clock.now += seconds
        return len(said)

    return Side(name=name, turn=turn)


def test_sides_take_turns_and_nobody_always_comes_first():
    said, clock = [], Clock()

    results = take_turns([working("a", said, clock), working("b", said, clock)], plan(rounds=3), clock=clock)

    assert said == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": [1, 4, 5], "b": [2, 3, 6]}, "each one's results in the order of the rounds"


def test_a_round_that_no_longer_fits_is_not_begun_and_no_side_is_short_of_a_turn():
    said, clock = [], Clock()
    sides = [working("a", said, clock, seconds=2), working("b", said, clock, seconds=3)]

    results = take_turns(sides, plan(rounds=9, rounds_end=14), clock=clock)

    assert [len(turns) for turns in results.values()] == [2, 2], "a third one would end at 15"


def test_the_first_round_is_never_cut_short():
    said, clock = [], Clock()

    take_turns([working("a", said, clock, seconds=9)], plan(rounds_end=5), clock=clock)

    assert said == ["a"]


def test_who_waits_hears_whose_turn_it_is():
    heard = []
    side = Side(name="a", turn=lambda: 1)

    take_turns([side], Plan(quick=True, rounds=2, rounds_end=1e12, tell=heard.append))

    assert heard == ["round 1 of 2, a", "round 2 of 2, a"]


def test_a_figure_has_a_median_and_a_spread():
    odd, even = (figure("drain", side="a", unit="jobs/s", values=values) for values in ([5, 1, 2], [4, 1, 2, 9]))

    assert (odd.median, odd.lowest, odd.highest) == (2, 1, 5)
    assert even.median == 3


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_was_not_measured_is_no_figure(values: list[float]):
    with pytest.raises(ValueError, match="drain of a"):
        figure("drain", side="a", unit="jobs/s", values=values)


def test_a_ratio_pairs_what_was_measured_in_the_same_round():
    ours = figure("drain", side="ours", unit="jobs/s", values=[100, 20, 90])
    stock = figure("drain", side="stock", unit="jobs/s", values=[50, 10, 10])

    times = ratio("drain", ours, stock)

    assert times.values == (2, 2, 9)
    assert times.median == 2, "and not 90 / 10, as the medians of both sides would give"
    assert (times.side, times.unit) == ("ours / stock", "times")


def test_sides_with_different_rounds_are_not_compared():
    one, two = (figure("drain", side="a", unit="jobs/s", values=values) for values in ([1], [1, 2]))

    with pytest.raises(ValueError, match="cannot be paired"):
        ratio("drain", one, two)


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: int):
    assert quantile([*range(100, 0, -1)], share) == value


def test_of_few_values_the_highest_is_the_p99():
    assert quantile([7.0, 3.0], 0.99) == 7.0


def test_waits_have_a_p50_for_each_round_and_one_p99_that_says_of_how_many():
    half, most = waits("pick-up", side="ours", rounds=[[1, 2, 3], [5, 6, 70]])

    assert (half.name, half.values) == ("pick-up, p50", (2, 6))
    assert (most.name, most.values) == ("pick-up, p99 of 6", (70,))


@pytest.mark.parametrize(
    ("check", "ok"),
    [
        (Check.at_least("drain", 10, 10, unit="times"), True),
        (Check.at_least("drain", 9.9, 10, unit="times"), False),
        (Check.at_most("wait", 3, 3, unit="ms"), True),
        (Check.at_most("wait", 3.1, 3, unit="ms"), False),
        (Check.exactly("letters", 8, 8, unit="letters"), True),
        (Check.exactly("letters", 9, 8, unit="letters"), False),
    ],
)
def test_a_check_says_which_way_its_target_lies(check: Check, *, ok: bool):
    assert check.ok is ok
    assert Report(bench="b", setup={}, figures=[], checks=[check]).reached is ok


def test_a_program_reads_one_line_of_json():
    clock = Clock()
    turns = take_turns([working("ours", [], clock)], plan(rounds=3), clock=clock)
    report = Report(
        bench="dummy",
        setup={"cores": 2, "system": "none"},
        figures=[figure("turns", side="ours", unit="turns", values=turns["ours"])],
        checks=[Check.at_least("turns", 2.000049, 3, unit="turns")],
    )

    line = to_json(report)

    assert "\n" not in line
    assert json.loads(line) == {
        "bench": "dummy",
        "setup": {"cores": 2, "system": "none"},
        "figures": [
            {
                "name": "turns",
                "side": "ours",
                "unit": "turns",
                "median": 2,
                "lowest": 1,
                "highest": 3,
                "values": [1, 2, 3],
            }
        ],
        "checks": [{"name": "turns, at least", "value": 2.0, "target": 3, "unit": "turns", "ok": False}],
    }


def test_people_read_a_table_with_what_was_missed():
    said = io.StringIO()
    report = Report(
        bench="dummy",
        setup={"cores": 2},
        figures=[figure("drain", side="ours", unit="jobs/s", values=[12_345.678, 0.123456])],
        checks=[Check.at_least("drain", 1, 2, unit="jobs/s"), Check.at_most("wait", 1, 2, unit="ms")],
    )

    show(report, Console(file=said, width=120))

    assert "cores 2" in said.getvalue()
    assert "12,350" in said.getvalue(), "four digits are more than a noisy machine deserves"
    assert "0.1235" in said.getvalue()
    assert "missed" in said.getvalue()
    assert "reached" in said.getvalue()


def test_a_benchmark_that_does_not_exist_is_told_with_those_that_do():
    outcome = CliRunner().invoke(app, ["qeue"])

    assert outcome.exit_code == 2
    assert "queue" in outcome.output
    assert "notify" in outcome.output


def test_the_benchmark_of_the_how_to_page_runs_as_it_stands():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "measure.md").read_text()
    (written,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    place: dict[str, object] = {}

    exec(compile(written, "measure.md", "exec"), place)  # the page's own words
    report = place["measure"](Plan(quick=True, rounds=2, rounds_end=1e12))

    assert report.bench == "sort"
    assert [len(one.values) for one in report.figures] == [2, 2, 2]
