"""Put messages on the queue: many in one step, once each, and never a success before the engine has said so."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog

from backroom.domain.errors import BackroomError, Full, Invalid, QueueAway
from backroom.queue.faults import point
from backroom.queue.guard import MemoryGuard
from backroom.queue.open import TIMEOUT, AsyncScript, Script, queue_away
from backroom.queue.unit import MOST_BYTES_IN_A_CALL, MOST_IN_A_CALL, Answer, Unit, answers, arguments, unit, units
from backroom.queue.wire import Post, Posted

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from backroom.queue.hot import HotPut

MOST_WAITING = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """A unit, where its answer goes, and since when somebody waits for it."""

    unit: Unit
    reply: Future[Answer] | asyncio.Future[Answer]
    since: float = 0.0

    def answer(self, said: Answer | BackroomError) -> None:
        if self.reply.done():
            return
        if isinstance(said, BackroomError):
            self.reply.set_exception(said)
        else:
            self.reply.set_result(said)


class _Buffer:
    """What waits to be sent, within bounds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._posts = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Sequence[_Waiting]) -> None:
        posts = sum(one.unit.posts for one in waiting)
        if self._posts + posts > self._most and self._posts:
            raise Full("the buffer before the queue")
        self._waiting.extend(waiting)
        self._posts += posts

    def drain(self) -> list[_Waiting]:
        left, self._posts = list(self._waiting), 0
        self._waiting.clear()
        return left

    def next_call(self) -> Iterator[_Waiting]:
        posts = size = 0
        while self._waiting:
            one = self._waiting[0]
            if posts and (posts + one.unit.posts > MOST_IN_A_CALL or size + one.unit.bytes > MOST_BYTES_IN_A_CALL):
                return
            self._waiting.popleft()
            self._posts -= one.unit.posts
            # Who has stopped waiting was told so; sending it now would only surprise.
            if not one.reply.done():
                posts, size = posts + one.unit.posts, size + one.unit.bytes
                yield one


class Sender:
    """Sends from threads. What they ask for while a call is under way travels together in the next one.

    Args:
        client: Its connections; they must not repeat commands by themselves.
        prefix: What every key starts with.
        always: Whether to enqueue however full a queue is: for work that follows from work, which would otherwise keep
            a full queue from ever getting shorter.
        most_waiting: How many posts may wait to be sent.
        timeout: How long one waits for its turn.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str,
        always: bool = False,
        most_waiting: int = MOST_WAITING,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._client = client
        self._script = Script(client, "send", prefix=prefix)
        self._always = always
        self._guard = MemoryGuard()
        self._timeout = timeout.total_seconds()
        self._buffer = _Buffer(most_waiting)
        self._entering = Lock()
        self._calling = Lock()

    def send(self, posts: Sequence[Post]) -> list[Posted]:
        """Put messages on the queue, in this order. One call of the engine takes 500.

        Raises:
            Invalid: One of them cannot be sent; then none is.
            Full: A queue takes nothing more, the engine has little memory left, or too much waits to be sent. Of more
                than 500, some may be enqueued.
            QueueAway: Valkey does not answer, or refuses to write; some may have been enqueued, and sending all of
                them again is safe.
        """
        mine = [_Waiting(unit=one, reply=Future()) for one in units(posts, always=self._always)]
        if not self._always:
            self._guard.look(self._client)
            self._guard.check()
        with self._entering:
            self._buffer.add(mine)
        # Whoever has the lock sends for all that wait; mine may have travelled with somebody else's.
        if not self._calling.acquire(timeout=self._timeout):
            for one in mine:
                one.reply.cancel()
            raise QueueAway("no turn to send in time")
        try:
            while not all(one.reply.done() for one in mine):
                self._call()
        finally:
            self._calling.release()
        return [posted for one in mine for posted in one.reply.result().posted]

    def _call(self) -> None:
        with self._entering:
            group = list(self._buffer.next_call())
        sent = [one.unit for one in group]
        point("before_send")
        try:
            with queue_away():
                reply = self._script.repeatable(*arguments(sent))
            point("after_send")
        except BaseException as error:
            said = error if isinstance(error, BackroomError) else QueueAway("interrupted while sending")
            for one in group:
                one.answer(said)
            if said is not error:
                raise
        else:
            for one, answer in zip(group, answers(reply, sent), strict=True):
                one.answer(answer)


class AsyncSender:
    """Sends from an event loop. What callers ask for while a call is under way travels together in the next one.

    Args:
        client: Its connection; it must not repeat commands by itself.
        prefix: What every key starts with.
        timeout: How long a caller waits, or a quarter longer at most.
        most_waiting: How many posts may wait to be sent.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        prefix: str,
        timeout: timedelta,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._client = client
        self._script = AsyncScript(client, "send", prefix=prefix)
        self._guard = MemoryGuard()
        self._timeout = timeout.total_seconds()
        self._buffer = _Buffer(most_waiting)
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def send(self, posts: Sequence[Post]) -> list[Posted]:
        """Put messages on the queue, in this order.

        Raises:
            Invalid: One of them cannot be sent; then none is.
            Full: A queue takes nothing more, the engine has little memory left, or too much waits to be sent. Of more
                than 500, some may be enqueued.
            QueueAway: Valkey did not answer in time, or refuses to write; some may have been enqueued, and sending
                all of them again is safe.
        """
        replies = await self._submit(units(posts))
        return [posted for reply in replies for posted in reply.posted]

    async def put_and_send(self, hot: HotPut, posts: Sequence[Post]) -> int | None:
        """Change a hot value and enqueue messages in one step.

        Returns:
            The value's new version, or None where it did not have the expected one: then nothing was enqueued.

        Raises:
            Invalid, Full, QueueAway: As for `send`.
        """
        if len(posts) > MOST_IN_A_CALL:
            raise Invalid("", f"is {len(posts)} messages with one hot value", f"at most {MOST_IN_A_CALL}")
        (reply,) = await self._submit([unit(posts, hot=hot)])
        return reply.version

    async def close(self) -> None:
        """Send what waits, then refuse what comes."""
        self._closed = True
        if self._pump is not None:
            await self._pump

    async def _submit(self, sent: list[Unit]) -> list[Answer]:
        if self._closed:
            raise QueueAway("the sender is closed")
        if self._guard.full:
            # Nothing is sent that could bring the news, so ask.
            await self._guard.look_async(self._client)
            self._guard.check()
        loop, now = asyncio.get_running_loop(), time.monotonic()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in sent]
        self._buffer.add([_Waiting(unit=one, reply=reply, since=now) for one, reply in zip(sent, futures, strict=True)])
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._run())
        # The pump answers in time, so nobody needs a clock of their own.
        return [await futures[0]] if len(futures) == 1 else await asyncio.gather(*futures)

    async def _run(self) -> None:
        try:
            while self._buffer:
                # One turn of the loop, so that callers that are ready now travel in this call.
                await asyncio.sleep(0)
                group = list(self._buffer.next_call())
                if group:
                    await self._call(group)
                    await self._guard.look_async(self._client)
        finally:
            # Only if we were interrupted is anybody left.
            for one in self._buffer.drain():
                one.answer(QueueAway("the sender was interrupted"))

    async def _call(self, group: list[_Waiting]) -> None:
        sent = [one.unit for one in group]
        # Whoever has waited longest decides; but an engine that was slow just now gets a moment.
        left = group[0].since + self._timeout - time.monotonic()
        point("before_send")
        try:
            with queue_away():
                async with asyncio.timeout(max(left, self._timeout / 4)):
                    reply: Any = await self._script.repeatable(*arguments(sent))
            point("after_send")
        except BaseException as error:
            said = error if isinstance(error, QueueAway) else QueueAway("interrupted while sending")
            log.warning("queue.away", waiting=len(self._buffer), error=type(error.__cause__ or error).__name__)
            for one in group:
                one.answer(said)
            if said is not error:
                raise
        else:
            for one, answer in zip(group, answers(reply, sent), strict=True):
                one.answer(answer)
