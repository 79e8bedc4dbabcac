"""Put messages on the queue: many in one step, once each, and never a success before the engine has said so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
import uuid_utils

from backroom.domain.errors import BackroomError, Full, Invalid, QueueAway
from backroom.queue.open import BROKEN, AsyncScript, Script, queue_away
from backroom.queue.wire import Post, Posted, milliseconds, seal

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from backroom.queue.hot import HotPut

MOST_IN_A_CALL = 500
MOST_BYTES_IN_A_CALL = 8 * 1024 * 1024
MOST_WAITING = 10_000
MOST_ONCE_KEY_CHARS = 300

# What `send.lua` says of a post; zero is one that was seen before.
_FRESH, _CONFLICT = 1, 2

Argument = str | bytes | float

log = structlog.get_logger()


class Sender:
    """Sends from a thread. One call of the engine per 500 posts."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._script = Script(client, "send", prefix=prefix)

    def send(self, posts: Sequence[Post]) -> list[Posted]:
        """Put messages on the queue, in this order.

        Raises:
            Invalid: One of them cannot be sent; then none is.
            QueueAway: Valkey does not answer, or refuses to write; some may have been enqueued, and sending all of
                them again is safe.
        """
        units = [_unit(part) for part in _parts(posts)]
        posted: list[Posted] = []
        for unit in units:
            with queue_away():
                posted += _posted(self._call([1, *unit.args])[1:])
        return posted

    def _call(self, args: list[Argument]) -> list[Any]:
        try:
            reply: list[Any] = self._script(*args)
        except BROKEN:
            # An idle connection may have been closed by the other side; the script is idempotent.
            reply = self._script(*args)
        return reply


class AsyncSender:
    """Sends from an event loop. What callers ask for while a call is under way travels together in the next one.

    Args:
        client: Its connection; it must not repeat commands by itself.
        prefix: What every key starts with.
        timeout: How long a caller waits at most.
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
        self._script = AsyncScript(client, "send", prefix=prefix)
        self._timeout = timeout.total_seconds()
        self._most_waiting = most_waiting
        self._waiting: deque[_Unit] = deque()
        self._count = 0
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def send(self, posts: Sequence[Post]) -> list[Posted]:
        """Put messages on the queue, in this order.

        Raises:
            Invalid: One of them cannot be sent; then none is.
            Full: Too much waits to be sent already.
            QueueAway: Valkey did not answer in time, or refuses to write; some may have been enqueued, and sending
                all of them again is safe.
        """
        replies = await self._submit([_unit(part) for part in _parts(posts)])
        return [posted for reply in replies for posted in _posted(reply[1:])]

    async def put_and_send(self, hot: HotPut, posts: Sequence[Post]) -> int | None:
        """Change a hot value and enqueue messages in one step.

        Returns:
            The value's new version, or None where it did not have the expected one: then nothing was enqueued.

        Raises:
            Invalid, Full, QueueAway: As for `send`.
        """
        if len(posts) > MOST_IN_A_CALL:
            raise Invalid("", f"is {len(posts)} messages with one hot value", f"at most {MOST_IN_A_CALL}")
        (reply,) = await self._submit([_unit(posts, hot=hot)])
        version = int(reply[0])
        return None if version < 0 else version

    async def close(self) -> None:
        """Send what waits, then refuse what comes."""
        self._closed = True
        if self._pump is not None:
            await self._pump

    async def _submit(self, units: list[_Unit]) -> list[list[Any]]:
        if self._closed:
            raise QueueAway("the sender is closed")
        count = sum(unit.posts for unit in units)
        if self._count + count > self._most_waiting and self._count:
            raise Full("the buffer before the queue")
        loop = asyncio.get_running_loop()
        for unit in units:
            unit.reply = loop.create_future()
        self._waiting.extend(units)
        self._count += count
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._run())
        replies = asyncio.gather(*(unit.reply for unit in units if unit.reply is not None))
        try:
            async with asyncio.timeout(self._timeout):
                return await replies
        except TimeoutError:
            raise QueueAway("no answer in time") from None

    async def _run(self) -> None:
        while self._waiting:
            # One turn of the loop, so that callers that are ready now travel in this call.
            await asyncio.sleep(0)
            units = list(self._next_call())
            if not units:
                continue
            try:
                replies = await self._call(units)
            except BackroomError as error:
                for unit in units:
                    unit.fail(error)
            else:
                for unit, reply in zip(units, replies, strict=True):
                    unit.answer(reply)

    def _next_call(self) -> Iterator[_Unit]:
        posts = size = 0
        while self._waiting:
            unit = self._waiting[0]
            if posts and (posts + unit.posts > MOST_IN_A_CALL or size + unit.bytes > MOST_BYTES_IN_A_CALL):
                return
            self._waiting.popleft()
            self._count -= unit.posts
            # Who has stopped waiting was told so; sending it now would only surprise.
            if unit.wanted:
                posts, size = posts + unit.posts, size + unit.bytes
                yield unit

    async def _call(self, units: list[_Unit]) -> list[list[Any]]:
        args: list[Argument] = [len(units)]
        for unit in units:
            args += unit.args
        try:
            with queue_away():
                async with asyncio.timeout(self._timeout):
                    try:
                        reply = await self._script(*args)
                    except BROKEN:
                        # An idle connection may have been closed by the other side; the script is idempotent.
                        reply = await self._script(*args)
        except QueueAway as error:
            log.warning("queue.away", waiting=len(self._waiting), error=type(error.__cause__).__name__)
            raise
        return list(_split(reply, units))


@dataclass(kw_only=True, slots=True)
class _Unit:
    """Posts that travel together, perhaps with a hot value."""

    args: list[Argument]
    posts: int
    bytes: int
    reply: asyncio.Future[list[Any]] | None = field(default=None)

    @property
    def wanted(self) -> bool:
        return self.reply is not None and not self.reply.done()

    def answer(self, reply: list[Any]) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: BackroomError) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)


def _parts(posts: Sequence[Post]) -> Iterator[Sequence[Post]]:
    for at in range(0, len(posts), MOST_IN_A_CALL):
        yield posts[at : at + MOST_IN_A_CALL]


def _unit(posts: Sequence[Post], *, hot: HotPut | None = None) -> _Unit:
    args: list[Argument] = []
    if hot is None:
        args.append(0)
    else:
        expected = "" if hot.expected is None else hot.expected
        # The nonce makes a repeated put see itself rather than a conflict.
        nonce = str(uuid_utils.uuid7())
        args += [1, hot.key, expected, hot.value, int(hot.ended), max(1, milliseconds(hot.ttl)), nonce]
    args.append(len(posts))
    size = len(hot.value) if hot else 0
    for post in posts:
        body = seal(post)
        size += len(body)
        args += [post.id, post.queue, body, milliseconds(post.delay), *_once(post)]
    return _Unit(args=args, posts=len(posts), bytes=size)


def _once(post: Post) -> tuple[str, int, str]:
    if post.once is None:
        return "", 0, ""
    if not 0 < len(post.once.key) <= MOST_ONCE_KEY_CHARS:
        raise Invalid("/once", "is not a key", f"1 to {MOST_ONCE_KEY_CHARS} characters")
    return post.once.key, max(1, milliseconds(post.once.window)), post.once.fingerprint


def _split(reply: Iterable[Any], units: list[_Unit]) -> Iterator[list[Any]]:
    values = list(reply)
    at = 0
    for unit in units:
        end = at + 1 + 2 * unit.posts
        yield values[at:end]
        at = end


def _posted(reply: Sequence[Any]) -> list[Posted]:
    return [
        Posted(id=_text(reply[at]), fresh=int(reply[at + 1]) == _FRESH, conflict=int(reply[at + 1]) == _CONFLICT)
        for at in range(0, len(reply), 2)
    ]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
