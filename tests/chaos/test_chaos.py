"""The proof in small: a run of everything at once, and a death at each named place."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dramatiq
import psycopg
import pytest
import typer

from backroom.domain.errors import StoreAway
from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from tests.chaos import __main__ as chaos
from tests.chaos import audit, clock, jobs, report
from tests.chaos.audit import Fallen, Recovery, Verdict
from tests.chaos.jobs import MIX, TABLES, Effects, Job
from tests.chaos.plan import KILLS, Size, plan
from tests.chaos.sender import accepted
from tests.chaos.stage import ROOT, until
from tests.pages import blocks

JOBS = 200
LEASE = 1.0
PATIENCE = 60
PAGE = ROOT / "docs" / "how-to" / "prove-it.md"

# Where a worker dies, and at which passing. The engine promotes what is due, takes back what the dead
# held and claims for the living in one script, so `mid_fetch` is in the middle of all three.
WORKER_POINTS = (
    *("mid_fetch:1", "mid_fetch:3", "after_fetch:2", "before_job:20", "after_effect:60", "mid_batch:1"),
    *("after_job:30", "before_settle:3", "mid_settle:3", "after_settle:3", "mid_beat:1"),
)
SENDER_POINTS = ("before_send:3", "mid_send:3", "after_send:3")


@pytest.fixture
def tables(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES)
        yield connection


class Place:
    """Where one story about a death takes place: keys of its own, and a program that dies."""

    def __init__(self, folder: Path, *, redis_url: str, database_url: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.database_url = database_url
        self.prefix = f"f{uuid.uuid4().hex[:12]}"
        clock.set_offset(folder / "clock", 3600.0)

    def run(self, program: str, *, fault: str = "", **order: object) -> subprocess.Popen[bytes]:
        common = {"arm": "ours", "valkey": self.redis_url, "prefix": self.prefix, "clock": str(self.folder / "clock")}
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.chaos.{program}", json.dumps({**common, **order})],
            env={"PYTHONPATH": str(ROOT), "BACKROOM_QUEUE_FAULT": fault},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )

    def worker(self, *, fault: str) -> subprocess.Popen[bytes]:
        order = {"name": "victim", "up": str(self.folder / "up"), "threads": 3, "lease": LEASE}
        return self.run("worker", fault=fault, postgres=self.database_url, **order)

    def sender(self, *, fault: str = "") -> subprocess.Popen[bytes]:
        go = self.folder / "go"
        go.write_text("0")
        order = {"sender": 0, "senders": 1, "jobs": JOBS, "span": 0, "go": str(go), "log": str(self.folder / "log")}
        return self.run("sender", fault=fault, **order)

    @contextmanager
    def survivor(self) -> Iterator[None]:
        """A worker that takes over."""
        broker = ValkeyBroker(self.redis_url, prefix=self.prefix, lease=timedelta(seconds=LEASE))
        effects = Effects(self.database_url, worker="survivor")
        jobs.declare(broker, effects, arm="ours")
        worker = dramatiq.Worker(broker, worker_threads=3, worker_timeout=100)
        worker.start()
        try:
            yield
        finally:
            worker.stop()
            broker.close()
            effects.close()

    def audit(self, tables: psycopg.Connection) -> None:
        """Wait until nothing is left, and hold what happened against what was asked."""
        with open_client(self.redis_url) as client:
            until(
                lambda: not audit.left_behind(client, prefix=self.prefix),
                within=PATIENCE,
                what="nothing is left in the engine",
            )
            assert audit.still_queued_ours(client, prefix=self.prefix) == (set(), set())
        done = [n for (n,) in tables.execute("SELECT n FROM effects")]
        assert sorted(done) == list(range(JOBS))
        assert audit.overtaken(tables) == 0


@pytest.fixture
def place(tmp_path: Path, redis_url: str, database_url: str) -> Place:
    return Place(tmp_path, redis_url=redis_url, database_url=database_url)


@contextmanager
def dying(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that has been killed at its point when the block is left."""
    try:
        yield
        assert process.wait(PATIENCE) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", WORKER_POINTS)
def test_a_worker_may_die_anywhere(fault: str, place: Place, tables: psycopg.Connection):
    with open_client(place.redis_url) as client:
        sender = Sender(client, prefix=place.prefix)
        sender.send([Job(n=n).post() for n in range(JOBS)])
        with dying(place.worker(fault=fault)):
            pass

    with place.survivor():
        place.audit(tables)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", SENDER_POINTS)
def test_a_sender_may_die_anywhere(fault: str, place: Place, tables: psycopg.Connection):
    with dying(place.sender(fault=fault)):
        pass
    assert len(accepted(place.folder / "log")) < JOBS
    second = place.sender()
    assert second.wait(PATIENCE) == 0
    assert accepted(place.folder / "log") == list(range(JOBS))

    with place.survivor():
        place.audit(tables)
    # Sent once more under the same id, they are the same messages.
    assert audit.ran_again(tables) == 0


@pytest.mark.e2e
@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_nothing_is_lost_and_nothing_doubled_when_everything_breaks_at_once():
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--quick", "--json", "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert done.stdout, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert [check for check in checks if not check["ok"]] == []
    assert done.returncode == 0


def test_what_the_page_shows_can_be_run():
    shown = list(blocks(PAGE))
    commands = [line.partition("#")[0].split() for block in shown for line in block.text.splitlines()]
    asked = [words[3:] for words in commands if words[:3] == [".venv/bin/python", "-m", "tests.chaos"]]
    ledger: list[tuple[str, int]] = []
    names: dict = {}

    for words in asked:
        assert typer.main.get_command(chaos.app).make_context("chaos", words).params["only"]
    for block in shown:
        if block.language == "python":
            exec(block.text, names)
    names["book"](7, ledger)

    assert len(asked) == 3
    assert ledger == [("take", 7), ("give", 7)]


def test_a_point_of_ones_own_kills_at_the_passing_that_was_asked_for():
    program = "from backroom.queue.faults import point\nfor n in range(5): print(n, flush=True); point('mine')"

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT), "BACKROOM_QUEUE_FAULT": "mine:3"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1", "2"]
    assert done.stderr == "killed at fault point mine\n"


def test_every_named_place_is_on_the_page():
    page = PAGE.read_text("utf-8")
    code = "".join(file.read_text("utf-8") for file in (ROOT / "backroom" / "queue").glob("*.py"))
    named = set(re.findall(r'(?<!`)\bpoint\("([a-z_]+)"\)', code))

    assert len(named) >= 7
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_a_plan_is_the_same_for_the_same_seed_and_kills_nobody_in_the_calm():
    size = Size(jobs=100_000, kills=30, engine_kills=3, span=200, lease=15)

    first, second, other = (plan("kills", size, seed=seed) for seed in (1, 1, 2))

    assert first == second != other
    assert [fault.kind for fault in first].count("kill worker") == 30
    assert all(0 < fault.at < 200 for fault in first)
    assert not {fault.kind for fault in plan("calm", size, seed=1)} & set(KILLS)


def test_a_loss_is_found_and_breaks_the_run(tables: psycopg.Connection, tmp_path: Path):
    (tmp_path / "log").write_text("\n0 1 2 ok\n3 4")
    ordered = MIX.index("ordered")
    for n in (0, 2, 2, ordered + 1, ordered):
        tables.execute("INSERT INTO effects (n) VALUES (%s)", (n,))

    assert accepted(tmp_path / "log") == [0, 1, 2]
    assert audit.doubled(tables) == 1
    assert audit.overtaken(tables) == 1
    size = Size(jobs=3, kills=1, engine_kills=0, span=1, lease=4)
    assert broken(verdict(lost=1), size) == ["lost"]
    assert broken(verdict(doubled=1), size) == ["effects doubled"]
    assert broken(verdict(recovery=Recovery(after=[3.0, 21.0])), size) == ["resumed after a kill, slowest"]
    assert broken(verdict(), size) == []


def test_a_job_that_meets_no_postgresql_is_not_counted_as_failed():
    effects = Effects("postgresql://nobody@127.0.0.1:1/none", worker="w")

    for _ in range(2):
        with pytest.raises(StoreAway):
            effects.write([Job(n=1)])


def test_what_falls_with_a_second_worker_is_measured_from_there(tables: psycopg.Connection):
    first = audit.now()
    for n, seconds in ((1, 16), (2, 31), (3, 31), (4, -1)):
        tables.execute("INSERT INTO runs VALUES (%s, 'w', %s)", (n, first + timedelta(seconds=seconds)))
    killed, stalled = first + timedelta(seconds=15.5), first + timedelta(seconds=15)

    found = audit.recovery(
        tables,
        [
            Fallen(at=first, held=[1, 2, 3, 4, 5]),
            Fallen(at=killed, held=[2]),
            Fallen(at=stalled, held=[3], killed=False),
        ],
    )

    # The fourth was done and about to be acknowledged; the fifth never ran.
    assert sorted(found.after) == [15.5, 16, 16]
    assert found.twice == [31, 31]
    assert found.never == 1


def broken(one: Verdict, size: Size) -> list[str]:
    return [check["name"] for check in report.promises([one], size) if not check["ok"]]


def verdict(**more: object) -> Verdict:
    usual = dict.fromkeys(("lost", "stranded", "dead", "doubled", "ran_again", "overtaken"), 0)
    return Verdict(
        **{"arm": "ours", "run": "kills", "accepted": 3, "left_behind": [], "recovery": Recovery(), "seconds": 1.0}
        | usual
        | more
    )
