"""What one does from a terminal: applications and keys, a job by hand, queues, dead letters."""

from __future__ import annotations

import json
import os
import uuid

import pytest
from typer.testing import CliRunner

from backroom import cli
from backroom.domain.errors import CannotStart, Invalid
from backroom.embedded import Engines
from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.settings import settings
from tests.house import SECRET, until


@pytest.fixture(autouse=True)
def _read_the_environment_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def run(house, monkeypatch):
    """Run a command in the house's environment; what it printed."""
    given = house.settings
    for name, value in (
        ("REDIS_URL", given.redis_url),
        ("DATABASE_URL", given.database_url),
        ("BACKROOM_SECRET", SECRET),
        ("KEY_PREFIX", given.key_prefix),
    ):
        monkeypatch.setenv(name, value)
    return command


def command(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.build(words), words, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def send(house, job: str, message: object, queue: str = "default") -> str:
    client = open_client(house.settings.redis_url)
    id = str(uuid.uuid4())
    Sender(client, prefix=house.settings.key_prefix).send([Post(job=job, queue=queue, message=message, id=id)])
    client.close()
    return id


@pytest.fixture
def dead(house) -> str:
    """A message that no attempt can help: it is for a user, and names none."""
    house.start_worker()
    id = send(house, "user.put", {"app": house.app.id, "name": "whoever"})
    until(lambda: house.queues().find(id)[0] == "dead", what="the message is dead")
    return id


def test_an_application_that_was_added_comes_in_with_its_keys(run, house):
    shown = dict(line.split(maxsplit=2)[0::2] for line in run("apps", "add", "café").splitlines()[1:])
    client = house.client(key=shown["secret"])

    assert client.get("/v1/types").status_code == 200
    assert {"shop", "café"} == {row["name"] for row in json.loads(run("apps", "ls", "--json"))}
    assert shown["secret"] not in run("apps", "ls")
    another = run("keys", "add", "café", "--kind", "write").strip()
    assert another.startswith("br_track_")
    assert house.client(key=another).get("/v1/types").status_code == 403


def test_a_revoked_key_is_listed_as_such_and_lets_nobody_in_any_more(run, house):
    old, new = (run("keys", "add", "shop", "--kind", "secret").strip() for _ in range(2))
    id = old.split("_")[2]
    door = house.client(key=old)
    assert door.get("/v1/types").status_code == 200

    assert run("keys", "revoke", id).strip() == f"revoked {id}"

    until(lambda: door.get("/v1/types").status_code == 401, what="the front door has heard of it")
    assert house.client(key=new).get("/v1/types").status_code == 200
    listed = {row["id"]: row for row in json.loads(run("keys", "ls", "--json"))}
    assert (listed[id]["application"], listed[id]["kind"]) == ("shop", "secret")
    assert [id for id, row in listed.items() if row["revoked"]] == [id]
    assert old not in run("keys", "ls")
    # A second time changes nothing.
    run("keys", "revoke", id)
    assert {row["id"]: row for row in json.loads(run("keys", "ls", "--json"))} == listed
    with pytest.raises(Invalid, match="there is no key 0123456789"):
        run("keys", "revoke", "0123456789")


def test_a_name_that_is_taken_or_unknown_is_told(run):
    with pytest.raises(Invalid, match="there is an application named 'shop' already"):
        run("apps", "add", "shop")
    with pytest.raises(Invalid, match=r"did you mean shop\?"):
        run("keys", "add", "shopp", "--kind", "write")


def test_a_job_is_asked_for_by_hand_and_its_end_is_told(run, house):
    house.start_worker()
    message = '{"user": "ada", "name": "Ada"}'

    printed = run("jobs", "run", "user.put", "--app", "shop", "--message", message, "--wait").split()

    assert printed[1:] == ["done"]
    assert house.queues().find(printed[0])[0] == "done"
    assert house.client().get("/v1/users/ada").json()["name"] == "Ada"


def test_a_job_that_fails_is_told_with_its_reason(run, house):
    house.start_worker()
    message = '{"type": "no_such_type", "to": ["ada"], "data": {}, "accepted_at": "2026-01-01T00:00:00Z"}'

    printed = run("jobs", "run", "notification.send", "--app", "shop", "--message", message, "--wait", code=1)

    assert "dead: /type: there is no notification type 'no_such_type'" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["user.putt"], r"did you mean user\.put"),
        (["user.put", "--message", "{"], "is not JSON"),
        (["user.put", "--message", "[]"], "is not a JSON object"),
        (["user.put", "--message", '{"usr": "ada"}'], r"/usr: there is no such field of user\.put \(did you mean user"),
        (["user.put", "--message", '{"user": "ada"}'], "--app names the application"),
        (["user.put", "--message", '{"user": 7}', "--app", "shop"], r"Expected `str`, got `int` - at `\$\.user`"),
    ],
)
def test_a_wrong_message_is_told_before_it_is_sent(run, house, words, told):
    with pytest.raises(Invalid, match=told):
        run("jobs", "run", *words)

    assert all(depth.ready == 0 for depth in house.queues().depths().values())


def test_nobody_who_works_is_told_rather_than_waited_for(run):
    printed = run("jobs", "run", "delivery.rescue", "--wait", "--within", "1", code=1)

    assert "still queued after 1 s: does a worker run, and was it started after the job's file" in printed


def test_the_queues_show_what_waits_and_who_works(run, house):
    send(house, "delivery.rescue", {}, queue="quiet")
    (quiet,) = [row for row in json.loads(run("queue", "ls", "--json"))["queues"] if row["queue"] == "quiet"]
    assert (quiet["ready"], quiet["inflight"]) == (1, 0)
    assert quiet["oldest"] >= 0
    assert "quiet" in run("queue", "ls")

    house.start_worker()
    until(lambda: json.loads(run("queue", "ls", "--json"))["workers"], what="the worker is seen")


def test_a_dead_letter_is_listed_without_what_is_in_it_and_shown_with_it(run, dead):
    assert dead in run("dead", "ls")
    assert "whoever" not in run("dead", "ls") + run("dead", "ls", "--json")
    shown = run("dead", "show", dead)
    assert "whoever" in shown
    assert "user.put" in shown


def test_a_dead_letter_is_tried_again_or_dropped(run, house, dead):
    assert f"queued {dead}" in run("dead", "retry", dead)
    until(lambda: house.queues().find(dead)[0] == "dead", what="it has died once more")

    assert run("dead", "discard", dead).strip() == f"dropped {dead}"
    assert json.loads(run("dead", "ls", "--json")) == []
    for verb in ("show", "retry", "discard"):
        with pytest.raises(Invalid, match=f"there is no dead letter {dead}"):
            run("dead", verb, dead)


def test_what_merely_waits_is_not_discarded_as_dead(run, house):
    id = send(house, "delivery.rescue", {}, queue="quiet")

    with pytest.raises(Invalid, match="there is no dead letter"):
        run("dead", "discard", id)

    assert house.queues().find(id)[0] == "queued"


def test_the_engines_of_a_running_house_are_found_by_its_home(engines: Engines, monkeypatch):
    monkeypatch.setenv("BACKROOM_HOME", str(engines.home))

    assert "queues" in json.loads(command("queue", "ls", "--json"))


def test_the_secret_that_a_home_keeps_is_found_there(run, house, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text(f"{SECRET}\n")
    monkeypatch.delenv("BACKROOM_SECRET")
    monkeypatch.setenv("BACKROOM_HOME", str(tmp_path / "home"))

    key = run("keys", "add", "shop", "--kind", "secret").strip()

    assert house.client(key=key).get("/v1/types").status_code == 200


@pytest.mark.parametrize(("pid", "state"), [(os.getpid(), "simulated"), (2**22 + 1, "off")], ids=["runs", "is gone"])
def test_a_carrier_is_simulated_while_the_homes_simulator_runs(pid, state, tmp_path, monkeypatch):
    (tmp_path / "home" / "simulator").mkdir(parents=True)
    told = {"pid": pid, "url": "http://127.0.0.1:8025", "smtp_port": 8026}
    (tmp_path / "home" / "simulator" / "address.json").write_text(json.dumps(told))
    monkeypatch.setenv("BACKROOM_HOME", str(tmp_path / "home"))

    channels = {row["name"]: row["state"] for row in json.loads(command("shelf", "--json"))["channels"]}

    assert channels["sms_twilio"] == state


def test_where_nothing_runs_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKROOM_HOME", str(tmp_path / "nowhere"))

    with pytest.raises(CannotStart, match="run `backroom up` in another terminal, or set REDIS_URL"):
        command("queue", "ls")
    with pytest.raises(CannotStart, match="or set DATABASE_URL"):
        command("apps", "ls")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("said", ["apps ls", "apps add", "keys add", "jobs ls", "jobs run", "queue ls", "dead retry"])
def test_help_teaches_with_an_example(said):
    printed = " ".join(command(*said.split(), "--help").split())

    assert f"backroom {said}" in printed.partition("[OPTIONS]")[2]
