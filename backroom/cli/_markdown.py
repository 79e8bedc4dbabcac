"""Markdown as the generated pages have it: blocks, tables and code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def page(*blocks: str) -> str:
    """A page of blocks, with an empty line between them."""
    return "\n\n".join(blocks) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; without any rows, a sentence that says so."""
    lines = [head, ["---"] * len(head), *rows]
    if len(lines) == 2:  # noqa: PLR2004 - the head alone
        return "There is none yet."
    cells = ([_cell(one) for one in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(text: str) -> str:
    # A bar would begin the next cell, and a word in angle brackets would be taken for a tag.
    return (text if text.startswith("`") else text.replace("<", r"\<")).replace("|", r"\|")


def code(text: str) -> str:
    """A word that is code; nothing where there is none."""
    return f"`{text}`" if text else ""
