"""Plain text as each medium wants it: one line, paragraphs, or the few characters that an SMS is cheap in."""

from __future__ import annotations

import re
import unicodedata

# One of these in an SMS more than halves how much of it fits into a part, and none of them says more than its neighbour.
_CHEAP = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"',
        "‹": "'", "›": "'", "`": "'", "´": "'", "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-",
        "…": "...", "•": "-", "·": "-", "×": "x", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2007": " ",
        "\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": "", "\u00ad": "", "\t": " ",
    }
)  # fmt: skip


def one_line(text: str) -> str:
    """A subject or a title: no line breaks, so that no header can be smuggled in, and no other control characters."""
    return " ".join("".join(" " if _breaks(char) else char for char in text).split())


def paragraphs(text: str) -> str:
    """A body: no blanks at line ends, and never more than one empty line in a row."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def sms(text: str) -> str:
    """A body for SMS: typographic quotes, dashes and blanks give way to the plain ones of its small alphabet."""
    return paragraphs(re.sub(r" {2,}", " ", text.translate(_CHEAP)))


def _breaks(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Zl", "Zp"}
