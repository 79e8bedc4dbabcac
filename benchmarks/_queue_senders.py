"""What it is worth that many callers share a call: our asynchronous sender for one of them, and for a crowd."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import uuid_utils

from backroom.queue.open import open_async_client
from backroom.queue.sender import AsyncSender
from backroom.queue.wire import Post

CALLERS = 256
TIMEOUT = timedelta(seconds=60)


def senders(url: str, *, single: int, together: int) -> tuple[float, float]:
    """Messages a second that are enqueued for one caller, and for many at once. Each waits for its own answer."""
    return asyncio.run(_senders(url, single=single, together=together))


async def _senders(url: str, *, single: int, together: int) -> tuple[float, float]:
    client = open_async_client(url)
    sender = AsyncSender(client, prefix="bench", timeout=TIMEOUT)

    async def caller(count: int) -> None:
        for number in range(count):
            await sender.send([Post(job="nothing", queue="bench", message={"n": number}, id=str(uuid_utils.uuid7()))])

    try:
        await caller(1)
        began = time.perf_counter()
        await caller(single)
        alone = single / (time.perf_counter() - began)
        each = max(1, together // CALLERS)
        began = time.perf_counter()
        await asyncio.gather(*(caller(each) for _ in range(CALLERS)))
        return alone, each * CALLERS / (time.perf_counter() - began)
    finally:
        await sender.close()
        await client.aclose()
