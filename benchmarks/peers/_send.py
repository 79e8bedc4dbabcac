"""`python -m benchmarks.peers._send NAME`: the process that sends, in the peer's environment.

It reads an order a line, and answers each with a line.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers._place import Peer, Place

TICK_SECONDS = 0.01
Answer = dict[str, Any]


def clear(peer: Any, _order: Answer) -> Answer:
    """Drop what other turns left behind, where that is not in Valkey."""
    if hasattr(peer, "clear"):
        peer.clear()
    return {}


def each(peer: Peer, order: Answer) -> Answer:
    """One by one."""
    return _timed(lambda: peer.each(order["job"], range(order["count"])))


def many(peer: Any, order: Answer) -> Answer:
    """In bulk, where the peer has that."""
    if not hasattr(peer, "many"):
        return {"seconds": None}
    return _timed(lambda: peer.many(order["job"], range(order["count"])))


def fill(peer: Any, order: Answer) -> Answer:
    """However it goes fastest."""
    return many(peer, order) if hasattr(peer, "many") else each(peer, order)


def later(peer: Any, order: Answer) -> Answer:
    """All due at one moment, by the machine's one monotonic clock."""
    return _timed(lambda: peer.later(order["job"], order["count"], order["due"]))


def pick_ups(peer: Peer, order: Answer) -> Answer:
    """One now and then, to a worker that is idle again."""
    chance = random.Random(order["count"])  # noqa: S311 - the same pauses for every side
    for _ in range(order["count"]):
        time.sleep(chance.uniform(*order["pause"]))
        peer.each("pick_up", [time.monotonic_ns()])
    return {}


def pace(peer: Any, order: Answer) -> Answer:
    """So many a second, if the sender can: in bulk where the peer has that, otherwise one by one."""
    began = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - began) < order["seconds"]:
        # Never a crowd at once because the sender was late: that wait would be the sender's.
        wanted = min(int(passed * order["rate"]) - sent, max(1, int(2 * TICK_SECONDS * order["rate"])))
        if wanted > 0:
            _send_now(peer, wanted)
            sent += wanted
        time.sleep(TICK_SECONDS)
    return {"sent": sent, "seconds": time.monotonic() - began}


def _send_now(peer: Any, count: int) -> None:
    if hasattr(peer, "many"):
        peer.many("pick_up", [time.monotonic_ns()] * count)
    else:
        for _ in range(count):
            peer.each("pick_up", [time.monotonic_ns()])


ORDERS: dict[str, Callable[[Any, Answer], Answer]] = {
    order.__name__: order for order in (clear, each, many, fill, later, pick_ups, pace)
}


def _timed(send: Callable[[], None]) -> Answer:
    began = time.perf_counter()
    send()
    return {"seconds": time.perf_counter() - began}


def main(name: str) -> None:
    """Serve orders until there are no more."""
    # What a library prints is not an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.ERROR)
    peer = importlib.import_module(f"benchmarks.peers.{name}").open_peer(Place.here())
    answers.write(json.dumps({"bulk": hasattr(peer, "many"), "later": hasattr(peer, "later")}) + "\n")
    for line in sys.stdin:
        order = json.loads(line)
        answers.write(json.dumps(ORDERS[order["do"]](peer, order)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
