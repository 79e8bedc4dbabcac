"""Watches, through the API, how accepted notifications come to their final state."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backroom.cli._demo_door import Door, TurnedAway
from backroom.cli._demo_tally import Tally

PAGE = 100
# While orders are still sent, reading must not take the time that sending needs.
PAGES_WHILE_SENDING = 3
LOOK_EVERY = timedelta(seconds=1)
NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True, slots=True)
class Straggler:
    """A notification that was accepted and is not in a final state."""

    id: str
    state: str
    waits_for: str


class Settling:
    """The notifications that this run is answerable for.

    Args:
        door: Where to ask.
    """

    def __init__(self, door: Door) -> None:
        self.tally = Tally()
        self.accepted = 0
        self._door = door
        # In the order in which they were accepted, which is nearly that in which they settle.
        self._open: dict[str, None] = {}
        self._known: set[str] = set()

    def expect(self, id: str) -> None:
        """One more was accepted."""
        if id not in self._known:
            self._known.add(id)
            self._open[id] = None
            self.accepted += 1

    @property
    def open(self) -> int:
        """How many are not known to be settled yet."""
        return len(self._open)

    async def look(self, *, pages: int | None = None) -> None:
        """Ask for the oldest that are open, on so many pages at most."""
        ids = self._open if pages is None else itertools.islice(self._open, pages * PAGE)
        wanted = sorted(ids)
        while wanted:
            page = (await self._door.get(f"/v1/notifications?limit={PAGE}&after={_next(wanted[-1])}"))["notifications"]
            for one in page:
                if one["id"] in self._open and one["state"] == "settled":
                    self._settle(one)
            if not page:
                return
            # What is missing among these has not come as far as the memory.
            wanted = [id for id in wanted if id < page[-1]["id"]]

    async def watch(self, sending: asyncio.Event) -> None:
        """Look again and again until nothing is open any more, and while orders are sent."""
        while sending.is_set() or self._open:
            await self.look(pages=PAGES_WHILE_SENDING if sending.is_set() else None)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def stragglers(self) -> list[Straggler]:
        """Those that are still open, each asked for by its id and added up as it is."""
        found = []
        for id in sorted(self._open):
            try:
                one = await self._door.get(f"/v1/notifications/{id}")
            except TurnedAway as error:
                if error.status != NOT_FOUND:
                    raise
                found.append(Straggler(id=id, state="lost", waits_for="accepted, and not there"))
                continue
            if one["state"] == "settled":
                self._settle(one)
                continue
            self.tally.add(one)
            found.append(Straggler(id=id, state=one["state"], waits_for=_waits_for(one)))
        return found

    def _settle(self, notification: Mapping[str, Any]) -> None:
        del self._open[notification["id"]]
        self.tally.add(notification)


def _next(id: str) -> str:
    """The id right after this one, so that a page that begins before it has it on top."""
    return str(uuid.UUID(int=uuid.UUID(id).int + 1))


def _waits_for(notification: Mapping[str, Any]) -> str:
    waiting = [one for one in notification["deliveries"] if not one["finished_at"]]
    told = [f"{one['channel']} {one['state']} {one['reason'] or ''}".strip() for one in waiting]
    return ", ".join(told) or "a worker"
