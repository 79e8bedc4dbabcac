"""`python -m benchmarks._soak_sender`: sends the mix until SIGTERM, and does what people do about jobs meanwhile."""

from __future__ import annotations

import asyncio
import heapq
import math
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import msgspec
import structlog

from backroom import connect
from backroom.domain.errors import BackroomError
from backroom.queue.answers import AsyncAnswers
from backroom.queue.ops import Queues
from backroom.queue.sender import AsyncSender, Sender
from backroom.queue.wire import Posted
from backroom.settings import Settings, settings
from benchmarks._soak_mix import Mix, Wish

TICK = timedelta(milliseconds=200)
OPERATOR_COMES = timedelta(seconds=15)
ANSWERED_WITHIN = timedelta(seconds=10)


class Account(msgspec.Struct, kw_only=True):
    """What was done.

    Attributes:
        sent: Posts that the queue answered.
        fresh: Those that it had not seen before.
        answered: Outcomes that somebody waited for and heard.
        cancelled: Jobs that were cancelled, or asked to stop.
        revived: Dead letters that were put back.
        discarded: Dead letters that were dropped.
        troubles: Calls that failed.
    """

    sent: int = 0
    fresh: int = 0
    answered: int = 0
    cancelled: int = 0
    revived: int = 0
    discarded: int = 0
    troubles: int = 0


class Load:
    """Two ways to send, in turns: as the front door does, and as a program does that has threads."""

    def __init__(self, given: Settings) -> None:
        client, self._client = connect.valkey(given), connect.async_valkey(given)
        timeout = timedelta(seconds=10)
        self._door = AsyncSender(self._client, prefix=given.key_prefix, timeout=timeout)
        self._answers = AsyncAnswers(self._client, prefix=given.key_prefix)
        self._program = Sender(client, prefix=given.key_prefix)
        self._queues = Queues(client, prefix=given.key_prefix)
        self._mix = Mix()
        self._waiting: set[asyncio.Task[None]] = set()
        self._to_cancel: list[tuple[float, str]] = []
        self._operator_comes = 0.0
        self.account = Account()

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due, tick by tick."""
        began, ticks = time.monotonic(), 0
        while not stop.is_set():
            try:
                await self._tick(time.monotonic() - began, as_door=ticks % 2 == 0)
            except BackroomError as error:
                # Told in the log, and counted: the load goes on.
                self._trouble(error)
            ticks += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, began + ticks * TICK.total_seconds() - time.monotonic()))

    async def _tick(self, now: float, *, as_door: bool) -> None:
        wishes = list(self._mix.due(now))
        posted = await (self._each(wishes) if as_door else self._all(wishes))
        self.account.sent += len(posted)
        self.account.fresh += sum(one.fresh for one in posted)
        for wish, became in zip(wishes, posted, strict=True):
            if wish.cancel is not None:
                heapq.heappush(self._to_cancel, (now + wish.cancel.total_seconds(), became.id))
            if wish.awaited:
                task = asyncio.create_task(self._wait(became.id))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
        await asyncio.to_thread(self._mind, now, [became.id for became in posted[:1]])

    async def _each(self, wishes: Sequence[Wish]) -> list[Posted]:
        replies = await asyncio.gather(*(self._door.send([wish.post]) for wish in wishes))
        return [posted for reply in replies for posted in reply]

    async def _all(self, wishes: Sequence[Wish]) -> list[Posted]:
        return await asyncio.to_thread(self._program.send, [wish.post for wish in wishes])

    async def _wait(self, id: str) -> None:
        try:
            if await self._answers.wait(id, timeout=ANSWERED_WITHIN) is not None:
                self.account.answered += 1
        except BackroomError as error:
            self._trouble(error)

    def _mind(self, now: float, ids: Sequence[str]) -> None:
        for id in ids:
            self._queues.life(id)
        self._cancel(now)
        if now >= self._operator_comes:
            self._operator_comes = now + OPERATOR_COMES.total_seconds()
            self._bury_or_revive()

    def _cancel(self, now: float) -> None:
        while self._to_cancel and self._to_cancel[0][0] <= now:
            _, id = heapq.heappop(self._to_cancel)
            self.account.cancelled += self._queues.cancel(id) in {"cancelled", "asked"}

    def _bury_or_revive(self) -> None:
        self._queues.depths()
        for page in self._queues.dead_pages():
            revived, _ = self._queues.retry_all(page[::2])
            self.account.revived += revived
            self.account.discarded += self._queues.discard_dead([letter.id for letter in page[1::2]])

    def _trouble(self, error: BackroomError) -> None:
        self.account.troubles += 1
        sys.stderr.write(f"{type(error).__name__}: {error}\n")

    async def close(self) -> None:
        """Leave nothing open, and nothing behind that nobody else would end."""
        try:
            await asyncio.to_thread(self._cancel, math.inf)
        except BackroomError as error:
            self._trouble(error)
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self._door.close()
        await self._answers.close()
        await self._client.aclose()


async def main() -> None:
    """Until SIGTERM; then say what was done."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    load = Load(settings())
    try:
        await load.run(stop)
    finally:
        await load.close()
    sys.stdout.write(msgspec.json.encode(load.account).decode() + "\n")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(main())
