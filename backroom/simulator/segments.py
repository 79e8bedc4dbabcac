"""In how many parts an SMS goes out, counted as the networks do."""

from __future__ import annotations

from collections.abc import Iterable

GSM = "GSM-7"
UCS = "UCS-2"

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")
# The largest text that goes out alone, then the room in each part of a longer one: its header takes the rest.
_GSM_ROOM = (160, 153)
_UCS_ROOM = (70, 67)
_BEYOND_ONE_UNIT = 0xFFFF


def segments(text: str) -> tuple[int, str]:
    """The number of parts with the encoding, `GSM-7` or `UCS-2`. An empty text is one part."""
    if all(letter in _BASIC or letter in _EXTENDED for letter in text):
        return _parts((2 if letter in _EXTENDED else 1 for letter in text), *_GSM_ROOM), GSM
    return _parts((2 if ord(letter) > _BEYOND_ONE_UNIT else 1 for letter in text), *_UCS_ROOM), UCS


def _parts(widths: Iterable[int], alone: int, room: int) -> int:
    widths = list(widths)
    if sum(widths) <= alone:
        return 1
    parts, used = 1, 0
    for width in widths:
        # A character of two units is never split across parts.
        if used + width > room:
            parts, used = parts + 1, 0
        used += width
    return parts
