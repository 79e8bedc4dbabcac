"""The trace that a request belongs to, for all that it puts on the queue."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import falcon.asgi

from backroom.domain.trace import Trace, begin, following

# Each request runs in a task, and so in a context, of its own.
_here: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Traced:
    """Reads `traceparent`; where it is missing or not valid, a new trace begins."""

    async def process_request(self, req: falcon.asgi.Request, _resp: Any) -> None:
        """Take a step of our own in the caller's trace."""
        _here.set(following(req.get_header("traceparent")))


def next_step() -> str:
    """The `traceparent` of something that follows from the request under way."""
    here = _here.get()
    return str(begin() if here is None else here.child())


def trace_id() -> str:
    """The name of the trace that the request under way belongs to."""
    here = _here.get()
    return "" if here is None else here.id
