"""Draws the queue's figures for the README: who drains how much, and how long a job waits for an idle worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._queue_report import CALLS, NOTHING, PICK_UP
from benchmarks._queue_turns import is_ours
from benchmarks.frame.figures import Figure
from benchmarks.frame.plot import BLUE, GREY, INK, keep, sheet
from benchmarks.frame.report import Report

LOWEST_MS = 0.1


def draw(found: Report, folder: Path) -> list[Path]:
    """Write the plot as PNG and SVG.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
    """
    with sheet(3, width=13.5, height=5) as (drawn, (calls, nothing, waits)):
        _rates(calls, _medians(found, f"{CALLS}, always"), "Jobs with one Valkey call, two processes\njobs per second")
        _rates(nothing, _medians(found, f"{NOTHING}, always"), "Jobs that do nothing, one process\njobs per second")
        _waits(waits, _medians(found, f"{PICK_UP}, p50"), "Until an idle worker begins a job\nmilliseconds, median")
        return keep(drawn, folder, bench=found.bench, caption=_caption(found))


def _medians(found: Report, name: str) -> list[Figure]:
    return [one for one in found.figures if one.name == name and " / " not in one.side]


def _rates(axis: Any, figures: Sequence[Figure], title: str) -> None:
    ranked = sorted(figures, key=lambda one: one.median)
    ours = max((one.median for one in ranked if is_ours(one.side)), default=0.0)
    labels = [
        f"{one.median:,.0f}" if is_ours(one.side) else f"{one.median:,.0f}   (ours: {ours / one.median:.1f} times)"
        for one in ranked
    ]
    _bars(axis, ranked, labels, title)
    axis.set_xlim(0, max((one.highest for one in ranked), default=1.0) * 1.5)
    axis.locator_params(axis="x", nbins=4)
    axis.xaxis.set_major_formatter("{x:,.0f}")


def _waits(axis: Any, figures: Sequence[Figure], title: str) -> None:
    ranked = sorted(figures, key=lambda one: -one.median)
    _bars(axis, ranked, [f"{one.median:,.1f} ms" for one in ranked], title)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,g}")
    axis.set_xlim(LOWEST_MS, max((one.highest for one in ranked), default=1.0) * 12)


def _bars(axis: Any, ranked: Sequence[Figure], labels: Sequence[str], title: str) -> None:
    colours = [BLUE if is_ours(one.side) else GREY for one in ranked]
    values = [one.median for one in ranked]
    spread = [[one.median - one.lowest for one in ranked], [one.highest - one.median for one in ranked]]
    axis.barh(range(len(ranked)), values, xerr=spread, color=colours, error_kw={"ecolor": INK, "elinewidth": 0.8})
    axis.set_yticks(range(len(ranked)), [one.side for one in ranked])
    for at, (one, label) in enumerate(zip(ranked, labels, strict=True)):
        weight = "bold" if is_ours(one.side) else "normal"
        axis.annotate(
            label, (one.highest, at), (5, 0), textcoords="offset points", va="center", fontsize=8.5, weight=weight
        )
    for name in axis.get_yticklabels():
        name.set_fontweight("bold" if is_ours(name.get_text()) else "normal")
    axis.set_title(title, fontsize=10, loc="left", color=INK)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _caption(found: Report) -> str:
    setup = found.setup
    return (
        f"Medians with the whole spread. {setup.get('cores')} cores, Valkey {setup.get('valkey')}, Python "
        f"{setup.get('python')}, appendfsync always. Method and settings: benchmarks/README.md"
    )
