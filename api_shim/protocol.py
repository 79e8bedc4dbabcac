"""HTTP as uvicorn speaks it, with a bound on a request's head: its size, and how long it may take to come."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The request line and all header fields. Proxies in front of applications allow 8 to 64 KiB.
LARGEST_HEAD = 65_536
# From the first moment of a connection, or the first byte of its next request.
SLOWEST_HEAD = timedelta(seconds=15)

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose head is too large (431, RFC 6585) or does not come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Expect a head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then count what still is no whole head."""
        self._begins_here = False
        super().data_received(data)
        # A chunk in which the head begins may be mostly the body of the request before: it is not counted.
        if self._in_head and not self._begins_here:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Expect the rest of the head."""
        self._late.cancel()
        self._expect_head()
        self._begins_here = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._late.cancel()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._late: Any = self.loop.call_later(SLOWEST_HEAD.total_seconds(), self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
