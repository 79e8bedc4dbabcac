"""Plain text as each medium wants it: one line, paragraphs, or the few characters that an SMS is cheap in."""

from __future__ import annotations

import re
import unicodedata

# One of these in an SMS more than halves how much fits into a part, and none says more than its plain neighbour.
_CHEAP = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2039\u203a\u0060\u00b4", "'")  # single quotes and accents without a letter
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"')  # double quotes
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022\u00b7", "-")  # dashes, minus, bullets
    | dict.fromkeys("\u00a0\u2007\u2009\u202f\t", " ")  # blanks that do not break, or are narrow
    | dict.fromkeys("\u200b\u200c\u200d\ufeff\u00ad", "")  # what nobody sees
    | {"\u2026": "...", "\u00d7": "x"}
)


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
