"""Says what came of the demo: as tables for people, as one JSON object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backroom.cli._demo_house import House
from backroom.cli._demo_show import Outcome
from backroom.cli._demo_tally import STATES, Medium
from backroom.cli._table import table

MOST_STRAGGLERS = 20
MOST_REASONS = 5
WIDE = 120
ORDER = ("inbox", "email", "sms")


def document(outcome: Outcome, house: House) -> dict[str, Any]:
    """Everything, for programs."""
    tally = outcome.tally
    return {
        "good": outcome.good and not outcome.stopped,
        "stopped": outcome.stopped,
        "seconds": round(outcome.took, 3),
        "sending_seconds": round(outcome.sending_took, 3),
        "orders": outcome.orders,
        "events": outcome.events,
        "notifications": {
            "accepted": outcome.accepted,
            "accepted_in_an_earlier_run": outcome.again,
            "final": tally.settled,
            "skipped_as_strangers": tally.strangers,
            "stragglers": [asdict(straggler) for straggler in outcome.stragglers],
            "seconds_from_first_accepted_to_last_final": round(tally.took, 3),
        },
        "channels": {name: _medium(medium) for name, medium in _mediums(outcome)},
        "parts": [asdict(part) for part in outcome.parts],
        "left_out": {"invoices": dict(outcome.left.invoices), "lines": dict(outcome.left.lines)},
        "turned_away": dict(outcome.turned_away),
        "cut": dict(outcome.cut),
        "waited_for_the_door": outcome.waited,
        "outbox": house.outbox,
        "door": house.door,
        "started": house.ours or None,
    }


def show(outcome: Outcome, house: House, console: Console) -> None:
    """Everything, for people."""
    console.print()
    console.print(_deliveries(outcome))
    for reason in _reasons(outcome):
        console.print(f"  {reason}", style="dim", highlight=False)
    console.print()
    if outcome.parts:
        console.print(_parts(outcome, console))
        console.print()
    for title, counts in (
        ("Invoices left out", outcome.left.invoices),
        ("Lines left out", outcome.left.lines),
        ("Not in an event", outcome.cut),
        ("Turned away at the door", outcome.turned_away),
    ):
        for reason, count in sorted(counts.items(), key=lambda one: -one[1]):
            console.print(f"{title}: {count:,} x {reason}", style="dim", highlight=False, markup=False)
    _verdict(outcome, console)
    if house.outbox:
        console.print(f"The letters: {house.outbox}", highlight=False)
        console.print(_next(outcome), style="dim", highlight=False, markup=False)


def _deliveries(outcome: Outcome) -> Table:
    found = _mediums(outcome)
    # Only what occurs, so that it fits a small terminal.
    states = [state for state in STATES if any(medium.states[state] for _, medium in found)]
    rows = []
    for name, medium in found:
        counts = [medium.states.total(), *(medium.states[state] for state in states), medium.retried]
        times = [_seconds(medium, share) for share in (0.5, 0.99)]
        rows.append((name, *(f"{count:,}" if count else "·" for count in counts), *times))
    built = table("Deliveries, from 202 to their final state", ("", "all", *states, "retried", "p50", "p99"), rows)
    # Eighty characters are enough.
    built.padding = (0, 1, 0, 0)
    for column in built.columns[1:]:
        column.no_wrap, column.justify = True, "right"
    return built


def _parts(outcome: Outcome, console: Console) -> Table:
    wide = console.width >= WIDE
    head = ("", "part", "what was found", *(["where"] if wide else []))
    rows: list[list[str | Text]] = [
        [_mark(part.shown), part.name, part.says, *([part.where] if wide else [])] for part in outcome.parts
    ]
    built = table("Read back from the API", head, rows)
    built.columns[1].no_wrap = True
    return built


def _verdict(outcome: Outcome, console: Console) -> None:
    tally = outcome.tally
    again = f", {outcome.again:,} of them in an earlier run: nothing is sent twice" if outcome.again else ""
    rate = outcome.accepted / outcome.sending_took if outcome.sending_took else 0
    console.print(
        f"{outcome.orders:,} orders and {outcome.events:,} events sent in {outcome.sending_took:.1f} s"
        f" ({rate:,.0f} orders/s); {tally.deliveries:,} deliveries"
        f" within {tally.took:.1f} s of the first 202; {outcome.took:.1f} s in all.",
        highlight=False,
    )
    if outcome.waited:
        console.print(f"The door asked to wait, or did not answer, {outcome.waited:,} times.", highlight=False)
    console.print(
        f"{tally.settled:,} of {outcome.accepted:,} accepted notifications are in a final state{again}.",
        style="bold green" if tally.settled == outcome.accepted and outcome.accepted else "bold red",
        highlight=False,
    )
    if tally.strangers:
        console.print(
            f"{tally.strangers:,} deliveries were skipped because their reader was not known, though the door had"
            " accepted every reader before.",
            style="bold red",
            highlight=False,
        )
    for straggler in outcome.stragglers[:MOST_STRAGGLERS]:
        console.print(f"  {straggler.id} {straggler.state}: {straggler.waits_for}", highlight=False, markup=False)
    if len(outcome.stragglers) > MOST_STRAGGLERS:
        console.print(f"  … and {len(outcome.stragglers) - MOST_STRAGGLERS:,} more", highlight=False)


def _next(outcome: Outcome) -> str:
    if outcome.again and outcome.again == outcome.accepted:
        return "Next: `make demo ARGS=--fresh` sends it all again."
    return "Next: run the same demo again, and see that not one letter is sent twice."


def _mediums(outcome: Outcome) -> list[tuple[str, Medium]]:
    found = outcome.tally.mediums
    return sorted(found.items(), key=lambda one: (ORDER.index(one[0]) if one[0] in ORDER else len(ORDER), one[0]))


def _reasons(outcome: Outcome) -> Iterator[str]:
    for name, medium in _mediums(outcome):
        for reason, count in medium.reasons.most_common(MOST_REASONS):
            yield f"{name}, {count:,} {reason}"


def _medium(medium: Medium) -> Mapping[str, Any]:
    return {
        "all": medium.states.total(),
        **{state: medium.states[state] for state in STATES},
        "retried": medium.retried,
        "p50_seconds": medium.percentile(0.5),
        "p99_seconds": medium.percentile(0.99),
        "reasons": dict(medium.reasons),
    }


def _seconds(medium: Medium, share: float) -> str:
    found = medium.percentile(share)
    if found is None:
        return "·"
    # Three figures say enough.
    places = 2 if found < 10 else 1 if found < 100 else 0  # noqa: PLR2004
    return f"{found:,.{places}f}\N{NO-BREAK SPACE}s"


def _mark(shown: bool | None) -> Text:  # noqa: FBT001 - it is what is marked
    if shown is None:
        return Text("·", "dim")
    return Text("✓", "green") if shown else Text("✗", "bold red")
