"""Warn administrators before a machine runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from backroom.domain.memory import size
from backroom.domain.rule import Clear, Finding, Host, Sight, rule

# Two levels, so that an alert does not come and go while memory hovers around one.
FIRES_BELOW = 0.10
CLEARS_ABOVE = 0.15
# A container that ran out of memory comes back under another name, and nobody looks at the old one any more. Of several
# machines each is looked at now and then only, so this is long.
GONE_AFTER = timedelta(hours=1)


@rule(
    "memory.low",
    scope="host",
    every="* * * * *",
    severity="critical",
    hold=timedelta(minutes=2),
    settings={"fires_below": FIRES_BELOW, "clears_above": CLEARS_ABOVE},
)
def low_memory(sight: Sight) -> Iterator[Finding | Clear]:
    """Little memory is available on a machine, within the limit that applies to it."""
    fires_below = sight.setting("fires_below", FIRES_BELOW)
    clears_above = sight.setting("clears_above", CLEARS_ABOVE)
    hosts = sight.hosts()
    for host in hosts:
        share = host.memory_available / host.memory_limit if host.memory_limit else 1.0
        says = f"{share:.1%} of memory is available on {host.name} ({_left(host)})".replace("%", " %", 1)
        if share < fires_below:
            yield Finding(about=host.name, says=says, evidence=_evidence(host, fires_below))
        elif share > clears_above:
            yield Clear(about=host.name, says=says)
    for name, seen_at in sight.open().items():
        if sight.now() - seen_at >= GONE_AFTER and name not in {host.name for host in hosts}:
            yield Clear(about=name, says=f"{name} has not been seen short of memory for an hour")


def _left(host: Host) -> str:
    return f"{size(host.memory_available)} of {size(host.memory_limit)}, limited by {_limit(host)}"


def _limit(host: Host) -> str:
    return "the control group" if host.limited_by == "cgroup" else "the machine"


def _evidence(host: Host, fires_below: float) -> dict[str, object]:
    return {
        "available": size(host.memory_available),
        "limit": f"{size(host.memory_limit)} ({_limit(host)})",
        "fires_below": f"{fires_below:.0%}".replace("%", " %"),
    }
