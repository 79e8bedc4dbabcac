"""What `backroom up` shows: quiet steps, marked lines, loud news."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console
from rich.text import Text

COLOURS = ("36", "35", "33", "32", "34", "96", "95", "93")
LOUD = "1;31"
US = "backroom"


class Screen:
    """One terminal, or a file that somebody keeps.

    Args:
        names: Who may speak besides ourselves.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        sys.stdout.reconfigure(errors="replace", line_buffering=False)  # type: ignore[union-attr]  # a text file
        self._console = Console(highlight=False, soft_wrap=True)
        self.colour = self._console.is_terminal and self._console.color_system is not None
        self._bar = "│" if self._console.encoding.startswith("utf") else "|"
        self._tick = "✓" if self._console.encoding.startswith("utf") else "+"
        self.expect(names)

    def expect(self, names: Sequence[str]) -> None:
        """Give each of `names` its colour, and all the room that the longest needs."""
        self._width = max(len(name) for name in (*names, US))
        self._colours = dict(zip(names, COLOURS * len(names), strict=False))

    def step(self, what: str, where: str = "") -> None:
        """Something is done."""
        self._console.print(Text.assemble((f" {self._tick} ", "green"), f"{what:<12} ", (where, "dim")))

    def plain(self, text: str, style: str = "") -> None:
        """A line as it is, made to be copied."""
        self._console.print(Text(text, style=style))

    def pair(self, name: str, value: str) -> None:
        """A name and what it is."""
        self._console.print(Text.assemble("   ", (f"{name:<12} ", "dim"), (value, "bold")))

    def lines(self, name: str, text: str) -> None:
        """What a program wrote. Plain writing: rich would take longer to show lines than programs to write them."""
        self._write(name, text, self._colours.get(name, COLOURS[0]), "")

    def news(self, name: str, text: str) -> None:
        """What nobody should overlook."""
        self._write(name or US, text, self._colours.get(name, LOUD), LOUD)

    def note(self, text: str) -> None:
        """What we do."""
        self._write(US, text, "1", "")

    def _write(self, name: str, text: str, mark: str, style: str) -> None:
        start = f"{name:<{self._width}} {self._bar} "
        if self.colour:
            start = f"\x1b[{mark}m{start}\x1b[0m"
        if self.colour and style:
            lines = "".join(f"{start}\x1b[{style}m{line}\x1b[0m\n" for line in text.split("\n"))
        else:
            lines = "".join(f"{start}{line}\n" for line in text.split("\n"))
        # The terminal may have been closed: nobody is left to tell, but the programs still have to be stopped in order.
        with suppress(OSError):
            sys.stdout.write(lines)
            sys.stdout.flush()


def child_colours(screen: Screen) -> dict[str, str]:
    """What tells programs behind a pipe that a terminal shows their lines."""
    return {"FORCE_COLOR": "1"} if screen.colour and "NO_COLOR" not in os.environ else {}
