"""Finds the peers there are, and those that can be measured here."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers._place import Side

SHELF = Path(__file__).parent
ROOT = SHELF.parent.parent
ENVIRONMENTS = ROOT / ".cache" / "benchmarks"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A peer on the shelf.

    Attributes:
        name: Its file's.
        requires: What its environment holds; nothing means ours.
        sides: The settings it is measured with.
    """

    name: str
    requires: tuple[str, ...]
    sides: tuple[Side, ...]

    @property
    def pins(self) -> Path:
        """Every version of its environment."""
        return SHELF / f"{self.name}.txt"

    @property
    def python(self) -> Path:
        """Who runs it."""
        return ENVIRONMENTS / self.name / "bin" / "python" if self.requires else Path(sys.executable)

    @property
    def stamp(self) -> Path:
        """Holds the pins that were installed."""
        return ENVIRONMENTS / self.name / "pins.txt"

    @property
    def installed(self) -> bool:
        """Whether its environment is there, with these pins and no others."""
        if not self.requires:
            return True
        return self.stamp.is_file() and self.stamp.read_bytes() == self.pins.read_bytes()


def entries() -> list[Entry]:
    """All peers, ours and stock first."""
    found = [_entry(path.stem) for path in sorted(SHELF.glob("[!_]*.py"))]
    return sorted(found, key=lambda entry: bool(entry.requires))


def missing(entry: Entry) -> str:
    """What to say of a peer that is left out."""
    names = ", ".join(side.name for side in entry.sides)
    return f"{names}: not installed, so left out; `python -m benchmarks.peers install {entry.name}` installs it"


def _entry(name: str) -> Entry:
    module = importlib.import_module(f"benchmarks.peers.{name}")
    return Entry(name=name, requires=module.REQUIRES, sides=module.SIDES)
