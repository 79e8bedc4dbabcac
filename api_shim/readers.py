"""Threads in which the memory is asked, and how long the door waits for what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from backroom.domain.errors import StoreAway

T = TypeVar("T")

# Longer than any page should take, and short enough for somebody who looks at an empty one.
LONGEST_READ = timedelta(seconds=10)


class Readers:
    """A few threads. One that hangs with PostgreSQL keeps its place until the connection gives up, but nobody waits.

    Args:
        number: How many threads.
        patience: How long to wait for a short answer that the door can do without.
    """

    def __init__(self, number: int, *, patience: timedelta) -> None:
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="reader")
        self._patience = patience

    async def read(self, question: Callable[..., T], *args: object) -> T:
        """What a question that blocks finds.

        Raises:
            StoreAway: PostgreSQL does not answer, or not in time.
        """
        return await self._ask(LONGEST_READ, question, *args)

    async def glance(self, question: Callable[..., T], *args: object) -> T:
        """The same for a short question on the way to accepting something: soon, or not at all.

        Raises:
            StoreAway: PostgreSQL does not answer, or not in time.
        """
        return await self._ask(self._patience, question, *args)

    def close(self) -> None:
        """Wait for the threads to end; what waits for one is given up."""
        self._threads.shutdown(cancel_futures=True)

    async def _ask(self, patience: timedelta, question: Callable[..., T], *args: object) -> T:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                return await asyncio.get_running_loop().run_in_executor(self._threads, question, *args)
        except TimeoutError as error:
            raise StoreAway("PostgreSQL did not answer in time") from error
