"""The event loop of the peers that need one: the fastest there is, whatever each of them would have taken."""

from __future__ import annotations

import asyncio


def runner() -> asyncio.Runner:
    """Runs coroutines of one process, all on the same loop."""
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
