"""A worker under steady load of every kind for an hour: does anything grow that should not?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import psutil
import redis

from backroom.embedded import Engine
from backroom.embedded.note import free_port
from backroom.queue.open import base
from benchmarks._soak_mix import KINDS, RATE, SHELF
from benchmarks._soak_plot import draw
from benchmarks._soak_report import report
from benchmarks._soak_sender import Account
from benchmarks._soak_watch import MEMORY, SENDER, WORKER, Sample, Watch
from benchmarks.frame.place import machine, own_folder, own_process, own_valkey, until, valkey_version
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Report

__all__ = ["ONLY_NAMED", "SPAN", "draw", "measure"]

SPAN = timedelta(hours=1)
# It has to be asked for: nobody who wants all the figures waits an hour longer for this one.
ONLY_NAMED = True

PREFIX = "soak"
THREADS = 8
# Ends of jobs are remembered for ten minutes; until then the engine fills.
WARM_UP = timedelta(minutes=12)
QUICK_WARM_UP = timedelta(seconds=10)
EVERY = timedelta(seconds=10)
QUICK_EVERY = timedelta(seconds=1)
FEWEST = 3
WORKS_WITHIN = timedelta(seconds=60)
# Jobs read no rows here, so nobody listens there.
NO_STORE = "postgresql://nobody@127.0.0.1:1/none"


def measure(plan: Plan) -> Report:
    """Load, and a look at everybody now and then."""
    setup = machine()
    with own_folder() as folder, own_valkey(folder) as valkey, redis.Redis.from_url(valkey.url) as client:
        # A rewrite is part of an engine's hour, and without one this hour would fill the disk.
        client.config_set("auto-aof-rewrite-percentage", 100)
        setup |= {"valkey": valkey_version(valkey.url), "jobs sent a second": round(RATE), "kinds of jobs": len(KINDS)}
        with _load(folder, valkey, client) as watch:
            samples = list(_samples(watch, plan))
        account = _account(folder / "sender.log")
    setup |= {
        "minutes": round(samples[-1].at / 60, 1),
        "warm-up minutes": round(_warm_up(plan).total_seconds() / 60, 1),
        "samples": len(samples),
        "load after": machine()["load before"],
    }
    return report(samples, account, warm_up=_warm_up(plan), setup=setup)


@contextmanager
def _load(folder: Path, valkey: Engine, client: redis.Redis) -> Iterator[Watch]:
    """A worker at work, and somebody who gives it more."""
    port = free_port()
    environ = {
        "REDIS_URL": valkey.url,
        "DATABASE_URL": NO_STORE,
        "KEY_PREFIX": PREFIX,
        "BACKROOM_SHELVES": SHELF,
        "METRICS_PORT": str(port),
        "LOG_LEVEL": "error",
    }
    metrics = f"http://127.0.0.1:{port}/metrics"
    words = ("-m", "workers", "--processes", "1", "--threads", str(THREADS))
    with own_process(*words, folder=folder, name="worker", environ=environ) as supervisor:
        until(lambda: _answers(metrics), within=WORKS_WITHIN, what="the worker works")
        with own_process("-m", "benchmarks._soak_sender", folder=folder, name="sender", environ=environ) as sender:
            # Whoever is told to stop before it has begun says nothing at its end.
            until(lambda: bool(client.exists(f"{base(PREFIX)}done")), within=WORKS_WITHIN, what="the sender sends")
            yield Watch(
                supervisor=psutil.Process(supervisor.pid),
                sender=psutil.Process(sender.pid),
                engine=psutil.Process(valkey.pid),
                client=client,
                prefix=PREFIX,
                metrics=metrics,
                began=time.monotonic(),
            )


def _samples(watch: Watch, plan: Plan) -> Iterator[Sample]:
    every = (QUICK_EVERY if plan.quick else EVERY).total_seconds()
    looks = 0
    while True:
        looks += 1
        time.sleep(max(0.0, watch.began + looks * every - time.monotonic()))
        if looks > FEWEST and time.monotonic() > plan.rounds_end:
            return
        sample = watch.look()
        # Without a load there is nothing to see.
        if (MEMORY, SENDER) not in sample.values:
            return
        plan.tell(f"after {sample.at / 60:.1f} minutes: {sample.values.get((MEMORY, WORKER), 0):.1f} MB")
        yield sample


def _account(log: Path) -> Account:
    """What the sender says at its end."""
    *_, last = [b"nothing", *log.read_bytes().splitlines()]
    try:
        return msgspec.json.decode(last, type=Account)
    except msgspec.DecodeError:
        raise RuntimeError(f"the sender did not last; it said {last!r}") from None


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _warm_up(plan: Plan) -> timedelta:
    return QUICK_WARM_UP if plan.quick else WARM_UP
