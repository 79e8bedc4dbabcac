"""What the runs have shown, as a table for people or one JSON object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.chaos.audit import Verdict
from tests.chaos.plan import Size


def promises(verdicts: Sequence[Verdict], size: Size) -> list[dict[str, Any]]:
    """What ours has to hold; stock is only looked at."""
    ours = [one for one in verdicts if one.arm == "ours"]
    if not ours:
        return []
    slowest = max(one.recovery.within(1.0) or 0.0 for one in ours)
    checks = [
        (
            "accepted, at least",
            sum(one.accepted for one in ours),
            size.jobs * sum(one.run != "full disk" for one in ours),
        ),
        ("lost", sum(one.lost for one in ours), 0),
        ("stranded", sum(one.stranded for one in ours), 0),
        ("effects doubled", sum(one.doubled for one in ours), 0),
        ("overtaken in an ordered queue", sum(one.overtaken for one in ours), 0),
        ("left behind in the engine", sum(len(one.left_behind) for one in ours), 0),
        ("never ran again after a kill", sum(one.recovery.never for one in ours), 0),
        ("resumed after a kill, slowest", round(slowest, 2), size.resumed_within),
    ]
    return [
        {
            "name": name,
            "value": value,
            "target": target,
            "unit": "s" if name.startswith("resumed") else "jobs",
            "ok": value >= target if name.endswith("at least") else value <= target,
        }
        for name, value, target in checks
    ]


def to_json(verdicts: Sequence[Verdict], size: Size, *, seed: int, skipped: Sequence[str]) -> str:
    """The report in one line, in the form of the benchmarks."""
    figures = [
        {
            **msgspec.to_builtins(one),
            "recovery": {
                "count": len(one.recovery.after),
                "never": one.recovery.never,
                "slow": one.recovery.slow,
                **dict(_recovery(one)),
            },
        }
        for one in verdicts
    ]
    setup = {**msgspec.to_builtins(size), "seed": seed, "skipped": list(skipped)}
    checks = promises(verdicts, size)
    return msgspec.json.encode({"bench": "chaos", "setup": setup, "figures": figures, "checks": checks}).decode()


def show(verdicts: Sequence[Verdict], size: Size, *, seed: int, skipped: Sequence[str], console: Console) -> None:
    """Print the report as a table."""
    console.print(
        f"\n[bold]chaos[/bold]  [dim]{size.jobs} jobs, {size.kills} kills, {size.engine_kills} kills of Valkey,"
        f" lease {size.lease:g} s, {size.workers} workers of {size.threads} threads, seed {seed}[/dim]"
    )
    table = Table("", *(f"{one.arm}: {one.run}" for one in verdicts))
    rows: list[tuple[str, list[str]]] = [
        ("accepted", [str(one.accepted) for one in verdicts]),
        ("[bold]lost[/bold]", [_bad(one.lost) for one in verdicts]),
        ("stranded", [_bad(one.stranded) for one in verdicts]),
        ("dead letters", [str(one.dead) for one in verdicts]),
        ("[bold]effects doubled[/bold]", [_bad(one.doubled) for one in verdicts]),
        ("ran more than once (allowed)", [str(one.ran_again) for one in verdicts]),
        ("overtaken in the ordered queue", ["-" if one.overtaken < 0 else _bad(one.overtaken) for one in verdicts]),
        ("left behind in the engine", ["-" if one.arm == "stock" else _bad(len(one.left_behind)) for one in verdicts]),
        ("held by killed workers", [str(_held(one)) for one in verdicts]),
        ("  of these never ran again", [_bad(one.recovery.never) for one in verdicts]),
        ("  of these fell with the next, too", [str(len(one.recovery.twice)) for one in verdicts]),
    ]
    for name in ("p50", "p99", "max", "max under a limit", "max of those that fell twice"):
        values = [dict(_recovery(one))[name] for one in verdicts]
        rows.append((f"recovered after, {name}", ["-" if value is None else f"{value:.1f} s" for value in values]))
    rows.append(("took", [f"{one.seconds:.0f} s" for one in verdicts]))
    rows += [
        (f"[dim]{fault}[/dim]", [f"[dim]{one.faults.get(fault, 0)}[/dim]" for one in verdicts])
        for fault in sorted({fault for one in verdicts for fault in one.faults})
    ]
    for name, values in rows:
        table.add_row(name, *values)
    console.print(table)
    for one in verdicts:
        if one.left_behind:
            console.print(f"left behind by {one.arm}, {one.run}: {', '.join(one.left_behind)}")
        if (one.recovery.within(1.0) or 0.0) > size.resumed_within:
            console.print(f"slowest after a kill, {one.arm}, {one.run}: {', '.join(one.recovery.slow)}")
    for reason in skipped:
        console.print(f"[yellow]skipped[/yellow] {reason}")
    checks = Table("ours", "measured", "wanted", "")
    for check in promises(verdicts, size):
        said = "[green]kept[/green]" if check["ok"] else "[red]BROKEN[/red]"
        checks.add_row(check["name"], f"{check['value']:g}", f"{check['target']:g}", said)
    if checks.row_count:
        console.print(checks)


def _recovery(one: Verdict) -> list[tuple[str, float | None]]:
    values = {name: one.recovery.within(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    values["max under a limit"] = max(one.recovery.limited, default=None)
    values["max of those that fell twice"] = max(one.recovery.twice, default=None)
    return [(name, value if value is None else round(value, 2)) for name, value in values.items()]


def _held(one: Verdict) -> int:
    return len(one.recovery.after) + one.recovery.never


def _bad(value: int) -> str:
    return f"[red]{value}[/red]" if value else "0"
