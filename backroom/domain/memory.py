"""How much memory is left, within the limit that applies: the machine's, or a control group's around us."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Control groups of version 1 say "no limit" with a number near 2**63, rounded down to a page.
NO_LIMIT = 2**62

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_WHOLE = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the kernel says about the whole machine, in bytes."""

    total: int
    available: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """What the kernel says about one control group, in bytes.

    Attributes:
        limit: What its processes may use in all.
        current: What they use, with the page cache.
        inactive_file: The part of the page cache that is given back first when memory is needed.
    """

    limit: int
    current: int
    inactive_file: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What is left of what.

    Attributes:
        limit: What may be used in all.
        available: What can still be used without pushing anything out.
        limited_by: `host` or `cgroup`.
    """

    limit: int
    available: int
    limited_by: str


def memory(machine: Machine, groups: Iterable[Group]) -> Memory:
    """What is left within the limit that applies.

    The limit is the smallest of all around us; what is available is the smallest, too: a wider group may be full of
    somebody else's pages while the narrower one still has room.

    Args:
        machine: The whole machine.
        groups: Those we are in that have a limit, our own and every one up to the root.
    """
    limit, available, limited_by = machine.total, machine.available, "host"
    for group in groups:
        if group.limit < limit:
            limit, limited_by = group.limit, "cgroup"
        used = max(0, group.current - group.inactive_file)
        available = min(available, max(0, group.limit - used))
    return Memory(limit=limit, available=min(available, limit), limited_by=limited_by)


def size(count: int) -> str:
    """A number of bytes as people read it: `412 MiB`, `9.6 GiB`."""
    value = float(count)
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    return f"{value:.1f} {unit}" if value < _WHOLE and unit != "B" else f"{value:.0f} {unit}"
