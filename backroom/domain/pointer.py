"""JSON Pointers (RFC 6901): where in a document something stands."""

from __future__ import annotations


def escaped(step: object) -> str:
    """A name or an index as one step of a pointer."""
    return str(step).replace("~", "~0").replace("/", "~1")
