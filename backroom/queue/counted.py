"""Senders that count what they have put on the queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from backroom.queue.sender import AsyncSender, Sender
from backroom.queue.tally import Tally
from backroom.queue.wire import Post, Posted

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from backroom.queue.hot import HotPut


class CountedSender(Sender):
    """See `Sender`; what was seen before is not counted."""

    def __init__(self, client: redis.Redis, *, tally: Tally, **options: Any) -> None:
        super().__init__(client, **options)
        self._tally = tally

    def send(self, posts: Sequence[Post]) -> list[Posted]:
        """See `Sender.send`."""
        posted = super().send(posts)
        _count(self._tally, posts, posted)
        return posted


class CountedAsyncSender(AsyncSender):
    """See `AsyncSender`; what was seen before is not counted."""

    def __init__(self, client: redis.asyncio.Redis, *, tally: Tally, **options: Any) -> None:
        super().__init__(client, **options)
        self._tally = tally

    async def send(self, posts: Sequence[Post]) -> list[Posted]:
        """See `AsyncSender.send`."""
        posted = await super().send(posts)
        _count(self._tally, posts, posted)
        return posted

    async def put_and_send(self, hot: HotPut, posts: Sequence[Post]) -> int | None:
        """See `AsyncSender.put_and_send`."""
        version = await super().put_and_send(hot, posts)
        if version is not None:
            for post in posts:
                self._tally.of(post.queue, post.job).enqueued += 1
        return version


def _count(tally: Tally, posts: Iterable[Post], posted: Iterable[Posted]) -> None:
    for post, became in zip(posts, posted, strict=True):
        if became.fresh:
            tally.of(post.queue, post.job).enqueued += 1
