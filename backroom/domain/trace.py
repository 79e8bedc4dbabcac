"""W3C Trace Context: one name for all that follows from one request, however many programs it passes.

`00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01` is the version, the trace, whoever asks (its parent), and the
flags. See https://www.w3.org/TR/trace-context/, whose first version this follows.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace

# Of the eight flags the standard defines this one: whoever asks may have recorded what it did.
SAMPLED = 0b1

_SHAPE = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<id>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_NO_VERSION, _OURS = "ff", "00"
_NOBODY = re.compile(r"0+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Where something belongs.

    Attributes:
        id: The trace: 32 hexadecimal digits.
        parent: The step that it follows from: 16 hexadecimal digits.
        sampled: Whether those before may have recorded it.
    """

    id: str
    parent: str
    sampled: bool

    def child(self) -> Trace:
        """The same trace for what follows from here, with a step of its own."""
        return replace(self, parent=_digits(8))

    def __str__(self) -> str:
        return f"{_OURS}-{self.id}-{self.parent}-{SAMPLED if self.sampled else 0:02x}"


def parse(traceparent: str | None) -> Trace | None:
    """What a `traceparent` says; None where there is none or it is not valid: then a new trace is to be begun.

    A later version may say more at its end, after one more hyphen; what stands before that is read all the same.
    """
    found = _SHAPE.match(traceparent or "")
    if found is None or traceparent is None:
        return None
    version, id, parent, flags = found.group("version", "id", "parent", "flags")
    more = traceparent[found.end() :]
    if version == _NO_VERSION or (more and (version == _OURS or not more.startswith("-"))):
        return None
    if _NOBODY.fullmatch(id) or _NOBODY.fullmatch(parent):
        return None
    return Trace(id=id, parent=parent, sampled=bool(int(flags, 16) & SAMPLED))


def begin() -> Trace:
    """A new trace. It counts as recorded, for the logs name it."""
    return Trace(id=_digits(16), parent=_digits(8), sampled=True)


def following(traceparent: str | None) -> Trace:
    """What follows from a `traceparent`: a child of it, or a new trace where it is missing or not valid."""
    found = parse(traceparent)
    return begin() if found is None else found.child()


def _digits(count: int) -> str:
    # Never all zeros, which the standard keeps for nobody.
    while not any(drawn := secrets.token_bytes(count)):
        pass
    return drawn.hex()
