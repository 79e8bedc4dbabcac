"""One worker process of a supervisor's: works until told to stop, or until the supervisor has gone."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from datetime import timedelta

from workers.order import Order, read_order
from workers.tie import end_with

# The supervisor ends it when its patience is over. Who is replaced may finish, however long that takes.
AS_LONG_AS_IT_TAKES = timedelta(days=365)


def main(argv: list[str]) -> None:
    """Do what the order in `argv` says."""
    # Stopping is the supervisor's to decide: a terminal and a process group ask every process at once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    order = read_order(argv[1])
    end_with(order.supervisor)
    # Written by the signal handler itself, so it comes even from a job that does not let go of the interpreter.
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or 2, all_threads=True)
    _work(order, stop)


def _work(order: Order, stop: threading.Event) -> None:
    # Only here: a supervisor that is gone by now should not be waited for by megabytes of imports.
    import dramatiq  # noqa: PLC0415
    import structlog  # noqa: PLC0415

    from backroom.domain.errors import BackroomError  # noqa: PLC0415
    from backroom.logs import configure  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415
    from workers.room import build  # noqa: PLC0415
    from workers.traced import name_trace  # noqa: PLC0415
    from workers.watch import Watch  # noqa: PLC0415

    configure(settings(), door="worker", more=[name_trace])
    log = structlog.get_logger()
    room: list[dramatiq.Broker] = []

    def orphaned() -> None:
        log.warning("worker.orphaned")
        stop.set()
        # Nobody else will end it when the time is up.
        threading.Event().wait(order.stop_within.total_seconds())
        for broker in room:
            broker.close()
        os._exit(1)

    watch = Watch(order, orphaned=orphaned)
    watch.start()
    try:
        broker = build(settings(), worker_name=order.name)
    except BackroomError as error:
        raise SystemExit(f"the worker cannot start: {error}") from error
    room.append(broker)
    broker.add_middleware(watch)
    dramatiq.set_broker(broker)
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, queues=set(order.queues) or None, worker_threads=order.threads)
    if not stop.is_set():
        watch.fresh()
        worker.start()
        watch.ready()
        stop.wait()
        worker.stop(timeout=round(AS_LONG_AS_IT_TAKES.total_seconds() * 1000))
    broker.close()


if __name__ == "__main__":
    main(sys.argv)
