"""What an operator does from a terminal while something is wrong: pause, drain, move, purge, retry, cancel, look."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backroom import cli
from backroom.domain.errors import Cancel, Full, Invalid, Permanent
from backroom.domain.limits import Limit, Rate
from backroom.domain.trace import begin
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from backroom.settings import settings
from tests.integration.queue_engine import Engine, actor, post, running, until, working

SECRET = "ada@example.com"
SHOP, OTHER = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    with running(tmp_path) as engine:
        monkeypatch.setenv("REDIS_URL", engine.url)
        monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nowhere")
        monkeypatch.setenv("KEY_PREFIX", engine.prefix)
        settings.cache_clear()
        yield engine
    settings.cache_clear()


def run(*words: str, code: int = 0, said: str = "") -> str:
    done = CliRunner().invoke(cli.build(words), words, catch_exceptions=False, input=said)
    assert done.exit_code == code, done.output
    return done.output


def rows(*words: str) -> list[dict]:
    found = json.loads(run(*words, "--json"))
    return found["queues"] if isinstance(found, dict) else found


def refused(message: dict) -> None:
    raise Permanent(f"no such user {message['n']}")


@pytest.fixture
def bury(engine: Engine, sender: Sender, queues: Queues) -> Callable[..., None]:
    """Send messages that no attempt can help, and wait until they are dead."""

    def buried(count: int, *, job: str = "note", queue: str = "work", **more: str) -> None:
        before = len(queues.dead(1_000))
        message = {"n": 7, **more}
        posts = [post(job, queue=queue, id=f"{job}-{n}") for n in range(count)]
        sender.send([type(one)(**{**_fields(one), "message": message}) for one in posts])
        with working(engine, actor(job, refused, queue=queue)):
            until(lambda: len(queues.dead(1_000)) == before + count)

    return buried


def _fields(one: object) -> dict:
    return {name: getattr(one, name) for name in one.__slots__}


# Queues


def test_a_paused_queue_gives_nothing_out_until_it_is_resumed_and_says_so(engine: Engine, sender: Sender):
    ran = threading.Event()
    sender.send([post("note", queue="work"), post("note", queue="mail")])

    assert run("queue", "pause", "work", "mail") == "paused work\npaused mail\n"

    assert {row["queue"]: row["intake"] for row in rows("queue", "ls")} == {"work": "paused", "mail": "paused"}
    assert "paused" in run("queue", "ls")
    with working(engine, actor("note", lambda message: ran.set())):
        # It had its chance: what was sent to another queue after it has run.
        other = threading.Event()
        with working(engine, actor("other", lambda message: other.set(), queue="other")):
            sender.send([post("other", queue="other")])
            assert other.wait(20)
        assert not ran.is_set()
        assert run("queue", "resume", "work") == "open work\n"
        assert ran.wait(20)


def test_a_look_at_what_is_next_shows_no_bodies_unless_asked(sender: Sender):
    sender.send([post("note", SECRET, id="m1"), post("note", id="m2"), post("note", id="m3")])

    assert [row["id"] for row in rows("queue", "peek", "work", "--limit", "2")] == ["m1", "m2"]
    assert SECRET not in run("queue", "peek", "work") + run("queue", "peek", "work", "--json")
    assert SECRET in run("queue", "peek", "work", "--bodies")
    assert rows("queue", "peek", "work", "--bodies")[0]["message"] == {"n": SECRET}


def test_a_drain_lets_nothing_in_and_ends_when_all_is_done_but_what_is_due_later(
    engine: Engine, sender: Sender, queues: Queues
):
    sender.send([post("note", n) for n in range(20)])
    sender.send([post("note", delay=timedelta(hours=1))])

    with working(engine, actor("note", lambda message: None)):
        until(queues.workers)
        printed = run("queue", "drain", "work", "--wait", "--within", "60s")

    assert (
        printed.splitlines()[1] == "empty work; 1 due later stay. `backroom queue resume work` takes messages in again"
    )
    with pytest.raises(Full, match="is being drained"):
        sender.send([post("note")])
    run("queue", "resume", "work")
    sender.send([post("note")])
    assert queues.depths()["work"].ready == 1


def test_a_drain_that_nobody_works_on_ends_in_time_and_says_how_to_go_on(sender: Sender):
    sender.send([post("note"), post("note")])

    printed = run("queue", "drain", "work", "--wait", "--within", "300ms", code=1)

    assert "no worker is alive" in printed
    assert "still 2 in work after 300ms" in printed
    assert "`backroom queue drain work --wait` watches again" in printed


def test_a_drain_that_is_interrupted_says_how_to_go_on(sender: Sender, queues: Queues):
    sender.send([post("note")])
    words = [sys.executable, "-m", "backroom", "queue", "drain", "work", "--wait"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ, text=True) as process:
        try:
            # Said after the first look at the workers, so the wait has begun or is about to.
            assert "no worker is alive" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()

    assert "`backroom queue resume work` takes messages in again" in told
    assert process.returncode == 130
    assert queues.depths()["work"].intake == "draining"


def test_messages_move_to_the_end_of_another_queue_as_many_as_asked(sender: Sender, queues: Queues):
    sender.send([post("note", n) for n in range(1_200)])
    sender.send([post("other", queue="mail", id="there")])

    assert run("queue", "move", "work", "mail", "--limit", "700") == "moved 700 of 700 from work to mail\n"

    assert (queues.depths()["work"].ready, queues.depths()["mail"].ready) == (500, 701)
    assert queues.peek("mail", 1)[0].message_id == "there"
    assert run("queue", "move", "work", "mail") == "moved 500 of 500 from work to mail\n"
    assert run("queue", "move", "work", "mail") == "moved 0 of 0 from work to mail\n"
    with pytest.raises(Invalid, match="is the queue itself"):
        run("queue", "move", "work", "work")


def test_what_was_moved_runs_there(engine: Engine, sender: Sender):
    ran: list[int] = []
    sender.send([post("note", 5)])
    run("queue", "pause", "work")
    note, other = (
        actor("note", lambda message: ran.append(message["n"])),
        actor("other", lambda message: None, queue="mail"),
    )
    with working(engine, note, other):
        sender.send([post("other", queue="mail")])
        run("queue", "move", "work", "mail")
        until(lambda: ran == [5])


def test_a_purge_asks_first_and_drops_all_that_nobody_holds(sender: Sender, queues: Queues):
    sender.send([post("note"), post("note"), post("note", delay=timedelta(hours=1))])

    printed = run("queue", "purge", "work", code=1, said="n\n")
    assert "2 ready, 1 due later, 0 limited" in printed
    assert queues.depths()["work"].ready == 2

    assert "dropped 3 from work" in run("queue", "purge", "work", said="y\n")
    assert run("queue", "purge", "work", "--yes") == "dropped 0 from work\n"
    assert queues.depths()["work"].waiting == 0


def test_bounds_of_a_queue_are_set_seen_and_taken_back(sender: Sender):
    sender.send([post("note")])
    run("queue", "limit", "work", "--most", "4", "--mark", "1", "--age", "1h30m")

    (row,) = rows("queue", "ls")
    assert (row["most"], row["mark"], row["age"]) == (4, 1, 5400)
    assert "most 4, mark 1, age 90.0 min" in run("queue", "ls")
    with pytest.raises(Full):
        sender.send([post("note")])

    assert run("queue", "limit", "work", "--mark", "0", "--age", "0") == "work: mark as usual, age 0\n"
    sender.send([post("note")])
    (row,) = rows("queue", "ls")
    assert (row["most"], row["mark"], row["age"]) == (4, None, None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["limit", "work"], "says nothing to set"),
        (["limit", "work", "--age", "soon"], "--age: is not a duration .such as 30s"),
        (["drain", "work", "--within", "1 year"], "is not a duration"),
        (["limits", "sms.account", "--rate", "fast"], "--rate: is not a rate"),
        (["limits", "sms.account"], "--rate, --concurrent or --usual"),
        (["limits", "--rate", "1/s"], "NAME: is missing .which limit to set"),
        (["limits", "SMS", "--rate", "1/s"], "is no name for a limit"),
        (["limits", "sms.account", "--usual"], "no such limit that was set"),
        *(
            ([verb, "wrok"], r"QUEUE: there is no such queue .did you mean work\?")
            for verb in ("pause", "peek", "purge")
        ),
        (["move", "work", "wrok"], r"did you mean work\?"),
    ],
)
def test_what_is_mistyped_is_told_with_what_would_be_right(sender: Sender, words: list[str], told: str):
    sender.send([post("note")])

    with pytest.raises(Invalid, match=told):
        run("queue", *words)


def test_who_cannot_go_on_is_told_what_to_do(
    engine: Engine, sender: Sender, queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def told(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["backroom", *words])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr().err

    sender.send([post("note", queue="quiet")])
    queues.rule("quiet", intake="draining")
    assert "To mend it: `backroom queue resume`" in told("jobs", "run", "record.forget")

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    assert "To mend it: see that Valkey runs" in told("queue", "ls")


def test_a_limit_is_set_in_place_of_what_jobs_declare_and_taken_back(engine: Engine, sender: Sender, queues: Queues):
    declared = Limit(name="sms.account", rate=Rate(1_000, timedelta(seconds=1), 1_000))
    ran: list[int] = []
    assert run("queue", "limits", "sms.account", "--rate", "1/h", "--burst", "2").endswith(
        "sms.account: 1 in 60.0 min, 2 at once\n"
    )
    assert [(row["limit"], row["set"]) for row in rows("queue", "limits")] == [
        ("sms.account", "1 in 60.0 min, 2 at once")
    ]

    with working(engine, actor("note", lambda message: ran.append(message["n"]), limits=(declared,))):
        sender.send([post("note", n, limits=("sms.account",)) for n in range(5)])
        until(lambda: queues.depths()["work"].limited == 3)
        until(lambda: len(ran) == 2)
        assert "limited" in run("queue", "ls")
    assert run("queue", "limits", "sms.account", "--usual") == "sms.account: as usual\n"
    assert rows("queue", "limits") == []
    run("queue", "limits", "sms.account", "--concurrent", "3")
    assert queues.limits() == {"sms.account": Limit(name="sms.account", concurrent=3)}


# Dead letters


def test_dead_letters_are_found_by_what_they_are(bury: Callable[..., None]):
    bury(2)
    bury(3, job="user.put", queue="mail", app=SHOP)

    def found(*filters: str) -> int:
        return len(rows("dead", "ls", *filters))

    assert found() == 5
    assert found("--job", "note") == 2
    assert found("--queue", "mail") == found("--app", SHOP) == 3
    assert found("--app", OTHER) == 0
    assert found("--reason", "NO SUCH") == 5
    assert found("--reason", "time-out") == 0
    assert (found("--since", "1h"), found("--before", "1h")) == (5, 0)
    assert (found("--since", "2999-01-01"), found("--before", "2999-01-01T00:00Z")) == (0, 5)
    assert found("--job", "user.put", "--queue", "work") == 0
    assert found("--limit", "4") == 4


def test_dead_letters_are_listed_page_by_page_each_once(bury: Callable[..., None]):
    # In one call, so that many have died at the same moment.
    bury(450)

    first = rows("dead", "ls", "--limit", "250")
    rest = rows("dead", "ls", "--limit", "1000", "--after", first[-1]["id"])

    assert (len(first), len(rest)) == (250, 200)
    assert len({row["id"] for row in first + rest}) == 450
    # What was seen last may be newer than all that is wanted.
    assert rows("dead", "ls", "--before", "1h", "--after", first[0]["id"]) == []


def test_a_flood_of_dead_letters_is_retried_at_once_but_only_those_that_are_meant(
    bury: Callable[..., None], queues: Queues
):
    bury(450)
    bury(3, job="other")

    assert "Retry 450 dead letters?" in run("dead", "retry", "--job", "note", code=1, said="n\n")
    assert len(queues.dead(1_000)) == 453
    assert run("dead", "retry", "--job", "note", "--yes") == "queued 450 of 450\n"

    assert queues.depths()["work"].ready == 450
    assert {dead.job for dead in queues.dead()} == {"other"}
    # All attempts are before them again.
    assert "attempt" not in queues.peek("work", 1)[0].options
    assert run("dead", "retry", "--all", "--yes") == "queued 3 of 3\n"


def test_what_dies_again_while_a_flood_is_retried_is_not_retried_for_ever(
    engine: Engine, bury: Callable[..., None], queues: Queues
):
    bury(450)
    with working(engine, actor("note", refused)):
        assert "queued 450 of 450\n" in run("dead", "retry", "--all", "--yes")
        until(lambda: len(queues.dead(1_000)) == 450)


def test_dead_letters_are_dropped_for_good_and_what_waits_is_not(
    bury: Callable[..., None], sender: Sender, queues: Queues
):
    bury(250)
    sender.send([post("note", id="waits")])

    assert "Drop 250 dead letters?" in run("dead", "discard", "--reason", "no such user", code=1, said="n\n")
    assert "dropped 250 of 250" in run("dead", "discard", "--reason", "no such user", said="y\n")

    assert queues.dead() == []
    assert queues.find("waits")[0] == "queued"
    with pytest.raises(Invalid, match="there is no dead letter waits"):
        run("dead", "discard", "waits")


def test_a_poison_message_is_mended_and_retried(engine: Engine, bury: Callable[..., None], queues: Queues):
    bury(1, job="user.put", queue="default", app=SHOP)
    ran: list[dict] = []

    with pytest.raises(Invalid, match=r"there is no such field of user\.put"):
        run("dead", "retry", "user.put-0", "--message", '{"usr": "ada"}')
    assert queues.find("user.put-0")[0] == "dead"
    # Another application's it cannot become.
    run("dead", "retry", "user.put-0", "--message", json.dumps({"user": "ada", "app": OTHER}))

    def work(message: dict) -> None:
        ran.append(message)

    with working(engine, actor("user.put", work, queue="default")):
        until(lambda: ran)
    assert (ran[0]["user"], ran[0]["app"]) == ("ada", SHOP)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["retry"], "ids, filters such as --job, or --all"),
        (["discard", "note-0", "--all"], "one or the other"),
        (["retry", "note-0", "note-1", "--message", "{}"], "is for one dead letter"),
        (["retry", "note-0", "--message", "{}"], "its message cannot be checked"),
        (["show", "note-00"], r"there is no dead letter note-00 .did you mean note-0"),
        (["ls", "--since", "yesterday"], "--since: is not a time .how long ago"),
        (["ls", "--job", "user.putt"], r"did you mean user\.put"),
        (["discard", "--queue", "wrok", "--yes"], r"did you mean work\?"),
    ],
)
def test_a_wrong_choice_of_dead_letters_is_told(bury: Callable[..., None], queues: Queues, words: list[str], told: str):
    bury(2)

    with pytest.raises(Invalid, match=told):
        run("dead", *words)

    assert len(queues.dead()) == 2


# One message


def test_a_message_is_shown_from_when_it_waits_until_it_is_dead(engine: Engine, sender: Sender, queues: Queues):
    trace = begin()
    sender.send([post("note", SECRET, id="m1", trace=str(trace), delay=timedelta(hours=1))])

    printed = run("job", "show", "m1")
    assert "state     scheduled" in printed
    assert f"trace     {trace.id}" in printed
    assert SECRET not in printed + run("job", "show", "m1", "--json")
    assert json.loads(run("job", "show", "m1", "--json"))["queue"] == "work"

    sender.send([post("note", id="m2")])
    with working(engine, actor("note", refused)):
        until(lambda: queues.life("m2").state == "dead")
    printed = run("job", "show", "m2", code=1)
    assert "attempts  1 failed" in printed
    assert "error     Permanent: no such user 0" in printed
    assert "reason    no such user 0" in printed


def test_whoever_watches_is_told_every_change_until_the_end(engine: Engine, sender: Sender, queues: Queues):
    go = threading.Event()

    def work(message: dict) -> dict:
        go.wait(30)
        return {"rows": 3}

    sender.send([post("note", id="m1")])
    with working(engine, actor("note", work, kept=timedelta(hours=1))):
        until(lambda: queues.life("m1").state == "running")
        with open_client(engine.url) as client:
            client.hset("{br}:progress", "m1", "0.2500|a quarter")
        assert "[######..................] 25%" in run("job", "show", "m1")
        assert "worker " in run("job", "show", "m1")
        threading.Timer(0.5, go.set).start()
        printed = run("job", "show", "m1", "--watch")

    assert "running  [######..................] 25% a quarter" in printed
    assert 'result    {"rows": 3}' in printed
    assert "done" in printed.splitlines()[1]


def test_messages_are_cancelled_where_they_wait_and_asked_to_stop_where_they_run(
    engine: Engine, sender: Sender, queues: Queues
):
    stopped = threading.Event()
    with working(engine, actor("note", lambda message: None)) as broker:

        def work(message: dict) -> None:
            until(lambda: broker.cancelled("runs"))
            stopped.set()
            raise Cancel("somebody asked for it")

        actor("long", work, queue="long")(broker)
        sender.send([post("long", queue="long", id="runs"), post("note", id="waits", delay=timedelta(hours=1))])
        until(lambda: queues.life("runs").state == "running")
        printed = run("job", "cancel", "waits", "runs")
        assert "cancelled waits\nasked runs to stop" in printed
        assert stopped.wait(20)
        until(lambda: queues.life("runs").state != "running")

    assert "state     cancelled" in run("job", "show", "waits", code=1)
    assert "is over already" in run("job", "cancel", "waits", code=1)


def test_a_dead_message_is_retried_and_any_other_is_told_why_not(
    engine: Engine, bury: Callable[..., None], sender: Sender, queues: Queues
):
    bury(1)
    assert run("job", "retry", "note-0") == "queued note-0\n"
    with pytest.raises(Invalid, match=r"note-0 is queued, not dead .it comes to its turn by itself"):
        run("job", "retry", "note-0")
    with working(engine, actor("note", lambda message: None)):
        until(lambda: queues.life("note-0").state == "done")
    with pytest.raises(Invalid, match=r"note-0 is done, not dead .what was asked is not kept"):
        run("job", "retry", "note-0")


def test_an_unknown_message_is_told_with_those_near_it(bury: Callable[..., None]):
    bury(1)

    assert "there is no message note-1 (did you mean note-0?)" in run("job", "show", "note-1", code=3)
    for verb in ("cancel", "retry"):
        with pytest.raises(Invalid, match=r"there is no message nowhere .never sent, or over"):
            run("job", verb, "nowhere")


SAID = [
    *(f"queue {verb}" for verb in ("ls", "peek", "pause", "resume", "drain", "move", "purge", "limit", "limits")),
    *(f"dead {verb}" for verb in ("ls", "show", "retry", "discard")),
    *(f"job {verb}" for verb in ("show", "cancel", "retry")),
]


@pytest.mark.parametrize("said", SAID)
def test_help_teaches_with_an_example(said: str):
    printed = " ".join(run(*said.split(), "--help").split())

    assert f"backroom {said}" in printed.partition("[OPTIONS]")[2]
