"""`python -m benchmarks.peers._work NAME`: one worker process of a peer, in the peer's environment."""

from __future__ import annotations

import importlib
import logging
import sys

from benchmarks.peers import _jobs
from benchmarks.peers._place import Place

if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    _jobs.tally()
    importlib.import_module(f"benchmarks.peers.{sys.argv[1]}").open_peer(Place.here()).work()
