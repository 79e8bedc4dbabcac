"""A worker under steady load of every kind for an hour: does anything grow that should not?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import psutil
import redis

from backroom.embedded import Engine
from backroom.embedded.note import free_port
from backroom.queue.open import base
from backroom.queue.ops import Queues
from benchmarks._soak_mix import KINDS, RATE, SHELF
from benchmarks._soak_plot import draw
from benchmarks._soak_report import Seen, report
from benchmarks._soak_sender import Account
from benchmarks._soak_watch import MEMORY, SENDER, WORKER, Sample, Watch
from benchmarks.frame.place import machine, own_folder, own_process, own_valkey, until, valkey_version
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Report

__all__ = ["ONLY_NAMED", "SPAN", "draw", "measure"]

# Long enough that all is forgotten that is not kept for longer on purpose.
REST = timedelta(minutes=13)
# Whatever runs or waits at its beginning has ended by then, and may have died.
SETTLED = timedelta(minutes=2)
SPAN = timedelta(hours=1) + REST
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
# A worker takes its time to stop where the machine is busy.
QUICK_SPARE = timedelta(seconds=6)
WORKS_WITHIN = timedelta(seconds=60)
# Jobs read no rows here, so nobody listens there.
NO_STORE = "postgresql://nobody@127.0.0.1:1/none"


def measure(plan: Plan) -> Report:
    """Load, with a look at everybody now and then; and a rest, to see what is left."""
    setup = machine()
    warm_up = QUICK_WARM_UP if plan.quick else WARM_UP
    with own_folder() as folder, own_valkey(folder) as valkey, redis.Redis.from_url(valkey.url) as client:
        # A rewrite is part of an engine's hour, and without one this hour would fill the disk.
        client.config_set("auto-aof-rewrite-percentage", 100)
        setup |= {"valkey": valkey_version(valkey.url), "jobs sent a second": round(RATE), "kinds of jobs": len(KINDS)}
        environ = _environ(valkey)
        with _worker(folder, valkey, client, environ) as resting:
            before = resting.look()
            with _sender(folder, resting, environ) as loaded:
                samples = list(_samples(loaded, plan))
            account = _account(folder / "sender.log")
            left = None if plan.quick else _rest(resting, plan)
    setup |= {
        "minutes of load": round(samples[-1].at / 60, 1),
        "warm-up minutes": round(warm_up.total_seconds() / 60, 1),
        "samples": len(samples),
        "load after": machine()["load before"],
    }
    return report(Seen(before=before, loaded=samples, left=left, account=account), warm_up=warm_up, setup=setup)


def _environ(valkey: Engine) -> dict[str, str]:
    return {
        "REDIS_URL": valkey.url,
        "DATABASE_URL": NO_STORE,
        "KEY_PREFIX": PREFIX,
        "BACKROOM_SHELVES": SHELF,
        "METRICS_PORT": str(free_port()),
        "LOG_LEVEL": "error",
    }


@contextmanager
def _worker(folder: Path, valkey: Engine, client: redis.Redis, environ: Mapping[str, str]) -> Iterator[Watch]:
    """A worker that waits for work."""
    metrics = f"http://127.0.0.1:{environ['METRICS_PORT']}/metrics"
    words = ("-m", "workers", "--processes", "1", "--threads", str(THREADS))
    with own_process(*words, folder=folder, name="worker", environ=environ) as supervisor:
        until(lambda: _answers(metrics), within=WORKS_WITHIN, what="the worker works")
        yield Watch(
            supervisor=psutil.Process(supervisor.pid),
            engine=psutil.Process(valkey.pid),
            client=client,
            prefix=PREFIX,
            metrics=metrics,
            began=time.monotonic(),
        )


@contextmanager
def _sender(folder: Path, resting: Watch, environ: Mapping[str, str]) -> Iterator[Watch]:
    """Somebody who gives it some."""
    with own_process("-m", "benchmarks._soak_sender", folder=folder, name="sender", environ=environ) as sender:
        # Whoever is told to stop before it has begun says nothing at its end.
        done = f"{base(PREFIX)}done"
        until(lambda: bool(resting.client.exists(done)), within=WORKS_WITHIN, what="the sender sends")
        yield replace(resting, sender=psutil.Process(sender.pid), began=time.monotonic())


def _samples(watch: Watch, plan: Plan) -> Iterator[Sample]:
    every = (QUICK_EVERY if plan.quick else EVERY).total_seconds()
    ends = plan.rounds_end - (QUICK_SPARE if plan.quick else REST).total_seconds()
    looks = 0
    while True:
        looks += 1
        time.sleep(max(0.0, watch.began + looks * every - time.monotonic()))
        if looks > FEWEST and time.monotonic() > ends:
            return
        sample = watch.look()
        # Without a load there is nothing to see.
        if (MEMORY, SENDER) not in sample.values:
            return
        plan.tell(f"after {sample.at / 60:.1f} minutes: {sample.values.get((MEMORY, WORKER), 0):.1f} MB")
        yield sample


def _rest(watch: Watch, plan: Plan) -> Sample:
    """What is left when all has ended, and its end is forgotten."""
    plan.tell(f"a rest of {REST}")
    time.sleep(SETTLED.total_seconds())
    queues = Queues(watch.client, prefix=PREFIX)
    # They would be kept for a month.
    for page in queues.dead_pages():
        queues.discard_dead([letter.id for letter in page])
    time.sleep((REST - SETTLED).total_seconds())
    return watch.look()


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
