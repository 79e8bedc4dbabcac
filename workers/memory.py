"""Reads how much memory this machine has left, as Linux tells it in /proc and /sys."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

from backroom.domain.memory import NO_LIMIT, Group, Machine, memory
from backroom.domain.rule import Host

_ROOT = Path("/")
_LINE = re.compile(r"^(\w+):?\s+(\d+)", re.MULTILINE)
_KIB = 1024


def this_host(root: Path = _ROOT) -> Host:
    """This machine, and what is left of its memory within the limit that applies to us.

    Args:
        root: Where `proc` and `sys` are.
    """
    left = memory(_machine(root), _groups(root))
    return Host(
        name=socket.gethostname(),
        memory_limit=left.limit,
        memory_available=left.available,
        limited_by=left.limited_by,
    )


def _machine(root: Path) -> Machine:
    counts = _counts(root / "proc/meminfo")
    if "MemTotal" in counts and "MemAvailable" in counts:
        return Machine(total=counts["MemTotal"] * _KIB, available=counts["MemAvailable"] * _KIB)
    # Not Linux.
    found = psutil.virtual_memory()
    return Machine(total=found.total, available=found.available)


def _groups(root: Path) -> Iterator[Group]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            # Version 2 has one tree for everything. Beside version 1 it may hang one floor lower, without memory.
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from _up(root / mount, path, limit="memory.max", current="memory.current", cache="inactive_file")
        elif "memory" in controllers.split(","):
            yield from _up(
                root / "sys/fs/cgroup/memory",
                path,
                limit="memory.limit_in_bytes",
                current="memory.usage_in_bytes",
                # Version 1 counts a group's own pages apart from those of the groups below it.
                cache="total_inactive_file",
            )


def _up(mount: Path, path: str, *, limit: str, current: str, cache: str) -> Iterator[Group]:
    # Inside a container the mount shows the container's own group as its root, while the path may be the host's: then
    # only what is there is read, and the root is always among it.
    own = PurePosixPath(path.lstrip("/"))
    for group in (own, *own.parents):
        if ".." in group.parts:
            continue
        folder = mount / group
        most, used = _number_in(folder / limit), _number_in(folder / current)
        if most is not None and used is not None and most < NO_LIMIT:
            yield Group(limit=most, current=used, inactive_file=_counts(folder / "memory.stat").get(cache, 0))


def _number_in(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _counts(path: Path) -> dict[str, int]:
    return {name: int(count) for name, count in _LINE.findall(_text(path))}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
