"""A Dramatiq program with greenlets for threads: jobs that wait at once, one that is cut, and one that is tried again.

Usage: python queue_gevent_program.py URL
"""

# What is imported before this would keep the threads that it has seen.
from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - see above
import time  # noqa: E402

import dramatiq  # noqa: E402
from dramatiq.middleware import TimeLimitExceeded  # noqa: E402

from backroom.queue.broker import ValkeyBroker  # noqa: E402


def main(url: str) -> None:
    broker = ValkeyBroker(url, prefix="br")
    broker.emit_after("process_boot")
    ran: list[str] = []

    def wait() -> None:
        time.sleep(0.5)
        ran.append("waited")

    def sleep_long() -> None:
        try:
            time.sleep(60)
        except TimeLimitExceeded:
            ran.append("cut")
            raise

    def fail() -> None:
        ran.append("tried")
        raise RuntimeError("no")

    waits = dramatiq.actor(wait, broker=broker, actor_name="wait")
    sleeps = dramatiq.actor(sleep_long, broker=broker, actor_name="sleep_long", time_limit=100, max_retries=0)
    fails = dramatiq.actor(fail, broker=broker, actor_name="fail", max_retries=1, min_backoff=10, max_backoff=20)
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=32)
    worker.start()
    for one in (sleeps, fails, *[waits] * 30):
        one.send()
    broker.join("default", timeout=30_000)
    worker.stop()
    broker.close()
    sys.stdout.write(" ".join(sorted(ran)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
