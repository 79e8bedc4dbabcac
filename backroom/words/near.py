"""What somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from backroom.domain.errors import Invalid

SHOWN = 3
LISTED = 12


def unknown(field: str, what: str, name: object, known: Iterable[str]) -> Invalid:
    """An error that lists names near the one given, or all of them where they are few.

    Args:
        field: JSON Pointer to the name.
        what: What kind of thing it should name.
        name: What was given.
        known: The names there are.
    """
    names = sorted(known)
    near = get_close_matches(str(name)[:80], names, n=SHOWN)
    if near:
        right = f"did you mean {' or '.join(near)}?"
    else:
        right = (
            f"there is {', '.join(names[:LISTED])}{', …' if len(names) > LISTED else ''}" if names else "there is none"
        )
    return Invalid(field, f"there is no such {what}", right)
