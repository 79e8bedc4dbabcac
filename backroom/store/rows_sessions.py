"""What the memory answers with about sessions."""

from __future__ import annotations

from dataclasses import dataclass

from backroom.domain.session import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptSession:
    """A session as it was last saved. `revision` orders its saves."""

    session: Session
    revision: int
