"""Draws what everybody held over the hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._soak_report import TIME
from benchmarks._soak_watch import ENTRIES, ISOLATED, MEMORY, SENDER, SUPERVISOR, USED, VALKEY, WORKER
from benchmarks.frame.figures import Figure
from benchmarks.frame.plot import BLUE, GREEN, GREY, INK, ORANGE, keep, sheet
from benchmarks.frame.report import Report

COLOURS = {WORKER: BLUE, ISOLATED: ORANGE, SENDER: GREEN, SUPERVISOR: GREY}
# So that what is flat looks flat, and what is not does not hide.
HEADROOM = 1.25


def draw(found: Report, folder: Path) -> list[Path]:
    """Write the plot as PNG and SVG.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
    """
    shown = {(one.name, one.side): one for one in found.figures}
    times = shown[TIME, "all"].values
    warm_up = float(found.setup["warm-up minutes"])
    with sheet(2, width=11, height=3.8) as (drawn, (left, right)):
        for who, colour in COLOURS.items():
            if one := shown.get((MEMORY, who)):
                _line(left, times, one, who, colour)
        _line(right, times, shown[USED, VALKEY], "used memory", BLUE)
        _dress(left, warm_up, "Private memory of each process\nMB")
        _dress(right, warm_up, _engine_title(shown))
        return keep(drawn, folder, bench=found.bench, caption=_caption(found))


def _line(axis: Any, times: Sequence[float], one: Figure, label: str, colour: str) -> None:
    # A process that came later has fewer samples.
    axis.plot(times[len(times) - len(one.values) :], one.values, color=colour, linewidth=1.4)
    axis.annotate(
        f"{label}  {one.values[-1]:.0f}",
        (times[-1], one.values[-1]),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=INK,
    )


def _dress(axis: Any, warm_up: float, title: str) -> None:
    axis.axvspan(0, warm_up, color="#f0f1f3", zorder=0)
    axis.annotate("warm-up", (warm_up / 2, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=8)
    axis.set_ylim(0, axis.get_ylim()[1] * HEADROOM)
    axis.set_xlim(left=0)
    axis.set_xlabel("minutes of load", color=INK)
    axis.set_title(title, fontsize=10, loc="left", color=INK)
    axis.spines[["top", "right"]].set_visible(False)


def _engine_title(shown: Mapping[tuple[str, str], Figure]) -> str:
    return f"Memory of Valkey, with {shown[ENTRIES, VALKEY].values[-1]:,.0f} entries at the end\nMB"


def _caption(found: Report) -> str:
    setup = found.setup
    return (
        f"One worker with 8 threads, {setup.get('jobs sent a second')} jobs a second of {setup.get('kinds of jobs')} "
        f"kinds. Valkey {setup.get('valkey')}, Python {setup.get('python')}. Method: benchmarks/README.md"
    )
