"""Ids that are the same however often they are asked for, and still stand among the others by their time."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, date, datetime, time

_VERSION, _VARIANT = 0x7, 0b10


def dated_id(day: date, what: str) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) of a day's beginning in UTC, with a digest in place of chance.

    Args:
        day: When it belongs.
        what: Of which thing: the same day and words give the same id.
    """
    milliseconds = int(datetime.combine(day, time(), UTC).timestamp() * 1000)
    digest = int.from_bytes(hashlib.sha256(f"{day.isoformat()}:{what}".encode()).digest()[:10], "big")
    rand_a, rand_b = digest >> 68, digest & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | _VERSION << 76 | rand_a << 64 | _VARIANT << 62 | rand_b))
