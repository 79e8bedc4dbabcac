"""A worker process of a chaos run, for either arm; it runs until it is told to stop, or killed.

Usage: python -m tests.chaos.worker '{"arm": …}'
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

from tests.chaos import clock


def main(text: str) -> None:
    order = json.loads(text)
    # Before anything else has asked what time it is.
    clock.install(Path(order["clock"]))

    import dramatiq
    import redis
    from dramatiq.brokers.redis import RedisBroker

    from backroom.queue.broker import ValkeyBroker
    from tests.chaos.jobs import Effects, declare

    logging.basicConfig(level=logging.ERROR)
    if order["arm"] == "ours":
        lease = timedelta(seconds=order["lease"])
        broker: dramatiq.Broker = ValkeyBroker(
            order["valkey"], prefix=order["prefix"], lease=lease, worker_name=order["name"]
        )
    else:
        broker = RedisBroker(client=redis.Redis.from_url(order["valkey"]), namespace=order["prefix"])
        # So that whoever kills us can see what we held.
        broker.broker_id = f"{order['name']}.{broker.broker_id}"
    declare(broker, Effects(order["postgres"], worker=order["name"]), arm=order["arm"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = dramatiq.Worker(
        broker, worker_threads=order["threads"], **({"worker_timeout": 100} if order["arm"] == "ours" else {})
    )
    worker.start()
    Path(order["up"]).write_text(str(os.getpid()))
    stop.wait()
    worker.stop()
    broker.close()


if __name__ == "__main__":
    main(sys.argv[1])
