"""What a benchmark found, as a table for people or one JSON object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import msgspec
from rich.console import Console
from rich.table import Column, Table

from benchmarks.frame.figures import Figure

DIGITS = 4  # significant ones; more than a noisy machine deserves


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A figure held against its target.

    Attributes:
        name: What was compared, and which way.
        value: What was measured.
        target: What it should be.
        unit: Of both.
        ok: Whether it is reached.
    """

    name: str
    value: float
    target: float
    unit: str
    ok: bool

    @classmethod
    def at_least(cls, name: str, value: float, target: float, *, unit: str) -> Self:
        """The more, the better."""
        return cls(name=f"{name}, at least", value=value, target=target, unit=unit, ok=value >= target)

    @classmethod
    def at_most(cls, name: str, value: float, target: float, *, unit: str) -> Self:
        """The less, the better."""
        return cls(name=f"{name}, at most", value=value, target=target, unit=unit, ok=value <= target)

    @classmethod
    def exactly(cls, name: str, value: float, target: float, *, unit: str) -> Self:
        """Neither more nor less."""
        return cls(name=f"{name}, exactly", value=value, target=target, unit=unit, ok=value == target)

    @classmethod
    def not_measured(cls, name: str, target: float, *, unit: str) -> Self:
        """Nobody knows, so it counts as missed."""
        return cls(name=f"{name} (not measured)", value=0, target=target, unit=unit, ok=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one benchmark found.

    Attributes:
        bench: Its name.
        setup: What somebody needs to know to repeat it, or to doubt it.
        figures: What was measured.
        checks: What of it has a target.
    """

    bench: str
    setup: Mapping[str, str | float]
    figures: Sequence[Figure]
    checks: Sequence[Check] = ()

    @property
    def reached(self) -> bool:
        """Whether every target is."""
        return all(check.ok for check in self.checks)


def to_json(report: Report) -> str:
    """The report in one line."""
    return msgspec.json.encode(
        {
            "bench": report.bench,
            "setup": report.setup,
            "figures": [
                {
                    "name": figure.name,
                    "side": figure.side,
                    "unit": figure.unit,
                    "median": _rounded(figure.median),
                    "lowest": _rounded(figure.lowest),
                    "highest": _rounded(figure.highest),
                    "values": [_rounded(value) for value in figure.values],
                }
                for figure in report.figures
            ],
            "checks": [
                {
                    "name": check.name,
                    "value": _rounded(check.value),
                    "target": check.target,
                    "unit": check.unit,
                    "ok": check.ok,
                }
                for check in report.checks
            ],
        }
    ).decode()


def show(report: Report, console: Console) -> None:
    """Print the report as tables."""
    setup = ", ".join(f"{name} {value}" for name, value in report.setup.items())
    console.print(f"\n[bold]{report.bench}[/bold]  [dim]{setup}[/dim]")
    figures = Table("what", "side", *(_right(name) for name in ("median", "lowest", "highest")), "unit")
    for one in report.figures:
        figures.add_row(one.name, one.side, _shown(one.median), _shown(one.lowest), _shown(one.highest), one.unit)
    console.print(figures)
    if report.checks:
        checks = Table("target", _right("measured"), _right("wanted"), "unit", "")
        for check in report.checks:
            said = "[green]reached[/green]" if check.ok else "[yellow]missed[/yellow]"
            checks.add_row(check.name, _shown(check.value), _shown(check.target), check.unit, said)
        console.print(checks)


def _right(name: str) -> Column:
    return Column(name, justify="right")


def _shown(value: float) -> str:
    rounded = _rounded(value)
    return f"{rounded:,.0f}" if rounded == round(rounded) else f"{rounded:,}"


def _rounded(value: float) -> float:
    """To significant digits; JSON then holds no false precision, and a count stays whole."""
    if float(value).is_integer():
        return value
    return float(f"{value:.{DIGITS}g}")
