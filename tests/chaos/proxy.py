"""A bad line between a client and Valkey: it cuts, delays, swallows replies and falls silent when it is told to.

Usage: python -m tests.chaos.proxy PORT. It prints its own port, and takes one order a line: `cut`; `lose`, the next
reply is swallowed and its connection cut; `slow SECONDS DELAY`; `silent SECONDS`, what is sent meanwhile goes nowhere.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

CHUNK = 65_536


class Line:
    """Every connection over this line."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._lose = False
        self._slow_until = self._silent_until = self._delay = 0.0

    async def run(self) -> None:
        server = await asyncio.start_server(self._carry_both, "127.0.0.1", 0, limit=CHUNK)
        print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - whoever started us reads it
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            self._obey(*line.decode().split())
        self._cut()

    def _obey(self, order: str, seconds: str = "0", delay: str = "0") -> None:
        if order == "cut":
            self._cut()
        elif order == "lose":
            self._lose = True
        elif order == "slow":
            self._slow_until, self._delay = time.monotonic() + float(seconds), float(delay)
        elif order == "silent":
            self._silent_until = time.monotonic() + float(seconds)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _carry_both(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self._port, limit=CHUNK)
        except OSError:
            near_out.transport.abort()
            return
        both = {near_out, far_out}
        self._open |= both
        try:
            await asyncio.gather(self._carry(near_in, far_out), self._carry(far_in, near_out, reply=True))
        finally:
            for writer in both:
                writer.transport.abort()
            self._open -= both

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, reply: bool = False) -> None:
        with suppress(OSError):
            while got := await source.read(CHUNK):
                if reply and self._lose:
                    self._lose = False
                    break
                if time.monotonic() < self._slow_until:
                    await asyncio.sleep(self._delay)
                if time.monotonic() < self._silent_until:
                    # Half open: the other side hears nothing, not even that nobody is there.
                    await asyncio.sleep(self._silent_until - time.monotonic())
                    break
                target.write(got)
                await target.drain()
        # One direction without the other is no connection.
        target.transport.abort()


if __name__ == "__main__":
    asyncio.run(Line(int(sys.argv[1])).run())
