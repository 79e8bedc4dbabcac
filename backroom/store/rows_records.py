"""What the memory answers with about records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A JSON object that an application keeps under a key. `owner` is a user, or empty for the application itself."""

    collection: str
    owner: str
    key: str
    value: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
