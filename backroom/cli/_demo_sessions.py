"""The visitors' sessions of the demo: begun, changed, and found again as they were left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backroom.cli._demo_door import Door, TurnedAway

MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Left:
    """A session as its visitor left it."""

    token: str
    user: str
    state: dict[str, Any]


class Sessions:
    """The sessions that this run began.

    Args:
        door: Where they are kept.
    """

    def __init__(self, door: Door) -> None:
        self.opened = 0
        self.resumed = 0
        self._door = door
        self._left: list[Left] = []

    async def open(self, user: str, basket: Sequence[str]) -> None:
        """Begin a session with an empty basket, and fill it."""
        self.opened += 1
        began = {"basket": [], "seen": len(basket), "greeting": "Welcome back"}
        answer = await self._door.ask("POST", "/v1/sessions", {"user": user, "state": began, "preset": "remember"})
        token = answer.document()["token"]
        patch = {"basket": list(basket[:20]), "greeting": None}
        # A merge patch takes away what it sets to nothing.
        await self._door.ask(
            "PATCH", "/v1/sessions/current", patch, headers={"Session-Token": token, "Content-Type": MERGE_PATCH}
        )
        self._left.append(Left(token=token, user=user, state={"basket": patch["basket"], "seen": began["seen"]}))

    async def resume(self) -> list[str]:
        """Come back to every session; returns what was not as it was left."""
        found = await asyncio.gather(*(self._wrong(left) for left in self._left))
        wrong = [fault for fault in found if fault]
        self.resumed = len(found) - len(wrong)
        return wrong

    async def _wrong(self, left: Left) -> str:
        try:
            found = await self._door.get("/v1/sessions/current", headers={"Session-Token": left.token})
        except TurnedAway as error:
            return f"{left.user}: {error}"
        return "" if found["state"] == left.state and found["user"] == left.user else f"{left.user}: another state"
