"""The queues that ours is measured beside: one file each, and nothing else to touch.

A peer's file says `REQUIRES` (what its environment holds; nothing means ours), `SIDES` (the settings it is measured
with) and `open_peer(place)`, which gives a `Peer`. It imports its library there and not before, because the benchmark
reads the file where that library is not installed. What it requires is pinned in the text file of the same name.

    python -m benchmarks.peers install          makes every peer's environment, from its pins
    python -m benchmarks.peers pin NAME         writes those pins anew
"""
