"""Nothing is lost when somebody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dramatiq
import pytest

from backroom.domain.backoff import Backoff
from backroom.domain.errors import QueueAway
from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, Processes, actor, post, until, working
from tests.integration.queue_wire import Wire

PROGRAM = Path(__file__).with_name("queue_worker.py")
HOME = PROGRAM.parents[2]


class Crew(Processes):
    """Worker processes over one engine."""

    def __init__(self, engine: Engine, folder: Path, *, lease: timedelta) -> None:
        super().__init__(folder)
        self.engine = engine
        self.lease = lease

    def hire(self, *, threads: int = 4) -> subprocess.Popen[bytes]:
        return self.start(PROGRAM, self.engine.url, round(self.lease.total_seconds() * 1000), self.folder, threads)


@pytest.fixture
def crew(engine: Engine, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(engine, tmp_path, lease=timedelta(seconds=1))
    yield crew
    crew.dismiss()


def settle_all(sender: Sender, posts: list, *, patience: float = 20) -> None:
    """Send until the engine has said yes, as a careful client does."""
    deadline = time.monotonic() + patience
    while True:
        try:
            sender.send(posts)
        except QueueAway:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def nothing_left(queues: Queues, *names: str) -> bool:
    try:
        depths = queues.depths()
    except QueueAway:
        return False
    return all(not (depths[name].ready or depths[name].delayed or depths[name].inflight) for name in names)


def test_a_killed_workers_messages_run_elsewhere(crew: Crew, sender: Sender, queues: Queues):
    first = crew.hire(threads=2)
    sender.send([post("hang", n) for n in range(10)])
    until(lambda: len(crew.runs()) == 2)
    (crew.folder / "go").touch()
    crew.hire(threads=2)

    first.kill()

    until(lambda: nothing_left(queues, "work"))
    ended = Counter(run[0] for run in crew.runs() if run[2] == "ended")
    assert ended == {str(n): 1 for n in range(10)}


def test_a_message_that_kills_its_worker_five_times_is_buried(crew: Crew, sender: Sender, queues: Queues):
    sender.send([post("die", "poison", id="m1"), post("note", "neighbour")])

    for _ in range(20):
        if queues.find("m1")[0] == "dead":
            break
        process = crew.hire(threads=1)
        until(lambda: process.poll() is not None or queues.find("m1")[0] == "dead")  # noqa: B023

    until(lambda: crew.ran()["neighbour"])
    (dead,) = queues.dead()
    assert (dead.id, dead.job) == ("m1", "die")
    assert dead.reason.startswith("poison")
    assert crew.ran()["poison"] == 5


def test_a_zombies_acknowledgement_is_refused(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", id="m1")])
    with open_client(engine.url) as client:
        fetch, settle = (Script(client, name, prefix="br") for name in ("fetch", "settle"))
        *_, zombie_token, _, _ = fetch("zombie", 1, 1, 0, 0, 1, "work", 0, 0, 0)
        until(lambda: queues.workers()[0].lease_left < timedelta(0))
        *_, token, nth, _ = fetch("heir", 60_000, 1, 1, 0, 1, "work", 0, 0, 0)

        assert settle("zombie", 1, "done", "m1", zombie_token, 0, "", "", 0) == [0]
        assert queues.find("m1")[0] == "running"
        assert settle("heir", 1, "done", "m1", token, 0, "", "", 0) == [1]

    assert nth == 2
    assert queues.find("m1")[0] == "done"


def test_a_worker_that_was_asleep_does_not_begin_what_it_no_longer_holds(crew: Crew, sender: Sender, queues: Queues):
    sleeper = crew.hire(threads=1)
    sender.send([post("hang", "first"), post("note", "second")])
    until(lambda: crew.ran()["first"])
    os.kill(sleeper.pid, signal.SIGSTOP)
    (crew.folder / "go").touch()
    heir = crew.hire(threads=1)
    until(lambda: nothing_left(queues, "work"))

    os.kill(sleeper.pid, signal.SIGCONT)

    until(lambda: len(queues.workers()) == 2)
    assert [run[1] for run in crew.runs() if run[0] == "second"] == [str(heir.pid)]


def test_repeating_any_settlement_changes_nothing(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", n, id=f"m{n}") for n in range(4)])
    with open_client(engine.url) as client:
        fetch, settle = (Script(client, name, prefix="br") for name in ("fetch", "settle"))
        reply = fetch("w", 60_000, 4, 0, 0, 1, "work", 0, 0, 0)
        tokens = reply[HEADER + 3 :: 6]
        bodies = reply[HEADER + 5 :: 6]
        orders = [
            *("done", "m0", tokens[0], 0, "", "", 1),
            *("m4", "work", "2", bodies[0], 0, ""),
            *("again", "m1", tokens[1], 60_000, bodies[1], "", 0),
            *("dead", "m2", tokens[2], 0, "", "odd", 0),
            *("release", "m3", tokens[3], 0, "", "", 0),
        ]
        first, again = settle("w", 4, *orders), settle("w", 4, *orders)

    assert (first, again) == ([1, 1, 1, 1], [0, 0, 0, 0])
    assert [queues.find(f"m{n}")[0] for n in range(4)] == ["done", "scheduled", "dead", "queued"]
    assert (queues.depths()["work"].ready, queues.depths()["work"].delayed) == (2, 1)
    assert [one.message_id for one in queues.peek("work")][:1] == ["m3"]


@pytest.fixture
def wire(engine: Engine) -> Iterator[Wire]:
    wire = Wire(engine)
    yield wire
    wire.close()


def test_messages_whose_fetch_was_answered_into_the_void_are_adopted(
    engine: Engine, wire: Wire, sender: Sender, queues: Queues
):
    ran = []
    broker = ValkeyBroker(wire.url, prefix="br", lease=timedelta(seconds=60))
    actor("note", lambda message: ran.append(message["n"]))(broker)
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()

    wire.lose = b"treasure"
    sender.send([post("note", f"treasure{n}") for n in range(4)])
    assert wire.lost.wait(10)

    # The lease is long: only this worker can have run them.
    until(lambda: len(ran) == 4, within=10)
    until(lambda: nothing_left(queues, "work"))
    worker.stop()
    broker.close()
    assert sorted(ran) == [f"treasure{n}" for n in range(4)]


def test_an_enqueue_whose_answer_is_lost_enqueues_once_and_another_run_still_runs(wire: Wire, queues: Queues):
    broker = ValkeyBroker(wire.url, prefix="br")
    actor("note", lambda _name: None)(broker)
    message = broker.get_actor("note").message("treasure")

    wire.lose = b"treasure"
    broker.enqueue(message)
    assert wire.lost.wait(10)
    assert queues.depths()["work"].ready == 1

    # Over a connection that has been closed meanwhile, the first try fails.
    wire.cut()
    broker.enqueue(message)
    assert queues.depths()["work"].ready == 2
    broker.close()


def test_a_retry_is_part_of_the_acknowledgement(engine: Engine, wire: Wire, sender: Sender, queues: Queues):
    tries = []

    def fail_once(message: dict) -> None:
        tries.append(message["n"])
        if tries == [0, 1]:
            # What is decided next will be carried out, but the answer never heard.
            wire.lose = b"again"
            raise RuntimeError("once")

    broker = ValkeyBroker(wire.url, prefix="br", lease=timedelta(seconds=60))
    actor("note", fail_once, backoff=Backoff(first=timedelta(milliseconds=100)))(broker)
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()
    sender.send([post("note", 0)])
    broker.join("work", timeout=5000)

    sender.send([post("note", 1, id="m1")])

    assert wire.lost.wait(10)
    until(lambda: queues.find("m1")[0] == "done")
    worker.stop()
    broker.close()
    assert tries == [0, 1, 1]


def test_connections_cut_at_any_time_lose_nothing_and_double_nothing(wire: Wire, sender: Sender, queues: Queues):
    ran: Counter[int] = Counter()
    broker = ValkeyBroker(open_client(wire.url), prefix="br", lease=timedelta(seconds=60))
    actor("note", lambda message: ran.update([message["n"]]))(broker)
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=100)
    worker.start()

    for step in range(10):
        sender.send([post("note", n) for n in range(step * 300, step * 300 + 300)])
        until(lambda: len(ran) > step * 300 + 50)  # noqa: B023
        wire.cut()

    until(lambda: len(ran) == 3000)
    until(lambda: nothing_left(queues, "work"))
    worker.stop()
    broker.close()
    assert set(ran.values()) == {1}


def test_an_engine_that_is_killed_under_load_loses_nothing(engine: Engine, crew: Crew, sender: Sender, queues: Queues):
    crew.lease = timedelta(seconds=5)
    workers = [crew.hire(), crew.hire()]
    accepted = 0

    for _ in range(3):
        for _ in range(20):
            settle_all(sender, [post("note", accepted + n) for n in range(20)])
            accepted += 20
        engine.kill()
        engine.start()

    until(lambda: len(crew.ran()) == accepted, within=30)
    until(lambda: nothing_left(queues, "work"))
    assert all(worker.poll() is None for worker in workers)
    assert queues.dead() == []


def test_workers_and_engine_killed_in_turn_lose_nothing(engine: Engine, crew: Crew, sender: Sender, queues: Queues):
    accepted = 0
    crew.hire()

    for turn in range(4):
        for _ in range(10):
            settle_all(sender, [post("note", accepted + n, delay=timedelta(milliseconds=n)) for n in range(20)])
            accepted += 20
        crew.hire()
        crew.processes[turn].kill()
        if turn == 2:
            engine.kill()
            engine.start()

    until(lambda: len(crew.ran()) == accepted, within=30)
    until(lambda: nothing_left(queues, "work"))
    assert queues.dead() == []


def test_an_ordered_queue_keeps_its_order_over_two_workers_and_a_kill(crew: Crew, sender: Sender, queues: Queues):
    first, _ = crew.hire(threads=2), crew.hire(threads=2)
    for at in range(0, 600, 20):
        sender.send([post("lane", n, queue="lane") for n in range(at, at + 20)])
        if at == 200:
            until(lambda: len(crew.runs()) > 60)
            first.kill()

    until(lambda: len(crew.ran()) == 600, within=30)
    until(lambda: nothing_left(queues, "lane"))
    runs = sorted(crew.runs(), key=lambda run: int(run[2]))
    # What the killed worker had not settled runs again, but nothing is overtaken.
    last_of: dict[str, int] = {run[0]: at for at, run in enumerate(runs)}
    assert sorted(last_of, key=lambda n: last_of[n]) == [str(n) for n in range(600)]


def test_a_worker_that_is_told_to_stop_leaves_nothing_behind(crew: Crew, sender: Sender, queues: Queues):
    worker = crew.hire(threads=2)
    sender.send([post("note", n) for n in range(3000)])
    until(lambda: len(crew.runs()) > 100)

    worker.terminate()
    worker.wait(20)

    depth = queues.depths()["work"]
    assert depth.inflight == 0
    assert len(crew.ran()) + depth.ready == 3000
    assert set(crew.ran().values()) == {1}
    assert queues.workers() == []


def test_a_worker_that_outlives_an_outage_goes_on_without_a_restart(engine: Engine, sender: Sender, queues: Queues):
    ran = []
    with working(engine, actor("note", lambda message: ran.append(message["n"]))):
        sender.send([post("note", 1), post("note", 2, delay=timedelta(seconds=1))])
        until(lambda: ran == [1])
        engine.kill()
        engine.start()
        until(lambda: ran == [1, 2])
        sender.send([post("note", 3)])
        until(lambda: ran == [1, 2, 3])
        until(lambda: nothing_left(queues, "work"))


def test_a_lost_script_cache_is_no_loss(engine: Engine, sender: Sender):
    ran = []
    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        for n in range(5):
            with engine.client() as client:
                client.script_flush()
            sender.send([post("note", n)])
        broker.join("work", timeout=5000)

    assert sorted(ran) == list(range(5))


def test_nothing_of_a_finished_run_stays_behind_but_tombstones(engine: Engine, sender: Sender):
    with working(
        engine,
        actor("note", lambda message: None),
        actor("lane", lambda messages: None, queue="lane", batch=10, ordered=True, linger_ms=1),
    ) as broker:
        sender.send([post("note", n) for n in range(50)] + [post("lane", n, queue="lane") for n in range(50)])
        broker.join("work", timeout=5000)
        broker.join("lane", timeout=5000)

    left = {key for key in engine.all_keys() if "wake!" not in key}
    assert left <= {"{br}:done", "{br}:queues", "{br}:busy", "{br}:endings", "{br}:turns", "{br}:layout", "{br}:token"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_thread_died_of_a_bug_lets_go_of_what_it_holds(engine: Engine, sender: Sender, queues: Queues):
    class Broken(ValkeyBroker):
        def _rank(self, job: str) -> int:
            raise ZeroDivisionError(job)

    ran: list = []
    declare = actor("note", lambda message: ran.append(message["n"]))
    broken = Broken(engine.url, prefix="br", lease=timedelta(seconds=1))
    declare(broken)
    deaf = dramatiq.Worker(broken, worker_threads=2, worker_timeout=100)
    deaf.start()
    sender.send([post("note", 1, id="m1")])
    until(lambda: queues.find("m1")[0] == "running")

    with working(engine, declare):
        until(lambda: ran == [1])

    deaf.stop()
    broken.close()


@pytest.mark.parametrize("option", [b'"parked":"x"', b'"attempt":[1]', b'"wire":null', b'"handed_on":{}'])
def test_an_option_of_another_kind_kills_no_thread(engine: Engine, sender: Sender, queues: Queues, option: bytes):
    ran: list = []
    sender.send([post("note", 1, id="m1"), post("note", 2)])
    with engine.client() as client:
        body = client.hget("{br}:msgs", "m1")
        client.hset("{br}:msgs", "m1", body.replace(b'"options":{', b'"options":{' + option))

    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        broker.join("work", timeout=5000)

    assert ran == [2]
    assert queues.find("m1")[0] == "dead"
