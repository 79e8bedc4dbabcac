"""`backroom up`, watched from outside as its user does; small programs stand where the Procfile's processes would."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import redis

from backroom.embedded import Engines
from backroom.embedded.server import gone_within
from tests.house import free_port, until

pytestmark = pytest.mark.e2e

DOOR = """
import http.server, os, signal, sys

class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/readyz", "/v1/users/ada") else 404)
        self.end_headers()

    def do_PUT(self):
        self.rfile.read(int(self.headers["content-length"]))
        print("made", self.path, "with", self.headers["authorization"], flush=True)
        self.send_response(202)
        self.end_headers()

    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("given", os.environ["REDIS_URL"], os.environ["DATABASE_URL"], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Door).serve_forever()
"""
PATIENT = """
import signal, sys, threading
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
print("at work", flush=True)
told.wait()
print("has gone", flush=True)
"""
STUBBORN = """
import signal, threading
signal.signal(signal.SIGTERM, lambda *_: print("not yet", flush=True))
print("at work", flush=True)
while True:
    threading.Event().wait(1)
"""
PROCFILE = 'web: python "door.py"\nworker: python patient.py\nclock: python patient.py\n'


class Up:
    """One `backroom up` and all that it has said."""

    def __init__(self, folder: Path, *, port: int, options: tuple[str, ...] = (), **environ: str) -> None:
        self.port = port
        self.said = ""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BACKROOM_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backroom", "up", "--no-simulator", *options],
            cwd=folder,
            env={**inherited, "PORT": str(port), "PYTHONPATH": str(Path(__file__).parents[2]), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def until_open(self) -> "Up":
        return self.until("Ctrl-C stops everything")

    def until(self, words: str) -> "Up":
        until(lambda: words in self.said or self._process.poll() is not None, within=60, what=words)
        assert words in self.said, self.said
        return self

    def send(self, order: signal.Signals) -> None:
        self._process.send_signal(order)

    def end(self, order: signal.Signals | None = signal.SIGINT) -> int:
        if order and self._process.poll() is None:
            self.send(order)
        code = self._process.wait(60)
        self._reader.join(10)
        self._process.stdout.close()
        return code

    def _read(self) -> None:
        for line in self._process.stdout:
            self.said += line.decode()


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not in pytest's folder: as root, PostgreSQL's user could not reach it, and its data would stay elsewhere.
    around = Path(tempfile.mkdtemp(prefix="backroom-test-"))
    around.chmod(0o755)
    folder = around / "a project with spaces"
    folder.mkdir()
    for name, text in {"door.py": DOOR, "patient.py": PATIENT, "stubborn.py": STUBBORN, "Procfile": PROCFILE}.items():
        (folder / name).write_text(text, encoding="utf-8")
    yield folder
    shutil.rmtree(around, ignore_errors=True)


@pytest.fixture
def up(folder: Path) -> Iterator[type]:
    """Starts houses that are gone when the test is over."""
    begun: list[Up] = []

    def begin(*, port: int = 0, options: tuple[str, ...] = (), **environ: str) -> Up:
        begun.append(Up(folder, port=port or free_port(), options=options, **environ))
        return begun[-1]

    yield begin
    for house in begun:
        house.end(signal.SIGKILL)


@dataclass(frozen=True)
class Diagnosis:
    code: int
    checks: list[dict[str, str]]


def diagnosis(folder: Path, **environ: str) -> Diagnosis:
    done = subprocess.run(
        [sys.executable, "-m", "backroom", "doctor", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Diagnosis(done.returncode, json.loads(done.stdout))


def speakers(said: str, words: str) -> list[str]:
    return re.findall(rf"^(\w+) +[|│] {words}", said, re.MULTILINE)


def test_a_first_start_shows_the_key_and_a_command_and_the_second_finds_them_again(up, folder):
    first = up().until_open()
    assert first.end() == 0

    (key,) = re.findall(r"Key +(br_live_\S+)", first.said)
    kept = folder / ".backroom" / "key"
    assert kept.read_text(encoding="ascii").strip() == key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / ".backroom" / "secret").stat().st_mode) == 0o600
    assert f"made /v1/users/ada with Bearer {key}" in first.said
    assert f"curl -i http://127.0.0.1:{first.port}/v1/notifications" in first.said
    assert f"$(cat '{kept}')" in first.said
    assert '"type": "order_shipped", "to": ["ada"]' in first.said

    second = up().until_open()
    assert second.end(signal.SIGTERM) == 0

    assert key not in second.said
    assert "made /v1/users" not in second.said
    assert kept.read_text(encoding="ascii").strip() == key
    # The same engines with the same data: what the web process was given says so.
    assert speakers(second.said, "given") == ["web"]
    assert re.search(r"given (.*)", first.said)[1] == re.search(r"given (.*)", second.said)[1]


def test_everything_stops_in_order(up):
    house = up().until_open()

    assert house.end() == 0

    assert speakers(house.said, "has gone") == ["clock", "worker"]
    assert house.said.rstrip().endswith("everything has stopped")


def test_a_kill_leaves_nothing_that_blocks_the_next_start(up):
    house = up().until_open()
    children = psutil.Process(house.pid).children(recursive=True)
    assert len(children) >= 5
    house.end(signal.SIGKILL)

    again = up(port=house.port).until_open()

    assert gone_within(children, timedelta(seconds=1))
    assert again.end() == 0


def test_the_same_home_twice_is_refused_and_two_homes_live_side_by_side(up):
    one = up().until_open()

    refused = up()
    assert refused.end(None) == 1
    assert "in use by another `backroom up`" in refused.said
    assert str(one.pid) in refused.said

    other = up(BACKROOM_HOME="another home").until_open()
    assert other.end() == 0
    assert one.end() == 0


def test_a_taken_port_is_named_before_anything_starts(up, folder):
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]

        refused = up(port=port)

        assert refused.end(None) == 1
    assert f"port {port} on 127.0.0.1 is taken" in refused.said
    assert f"PORT={port + 1}" in refused.said
    assert not (folder / ".backroom" / "valkey").exists()
    assert not (folder / ".backroom" / "postgres").exists()


def test_engines_that_are_given_are_used_and_none_is_started(up, folder, redis_url, database_url):
    house = up(REDIS_URL=redis_url, DATABASE_URL=database_url, BACKROOM_SECRET="one of our own").until_open()
    assert house.end() == 0

    assert f"given {redis_url} {database_url}" in house.said
    assert "given by REDIS_URL" in house.said
    assert not list((folder / ".backroom").glob("valkey*"))
    assert not list((folder / ".backroom").glob("postgres*"))
    assert not (folder / ".backroom" / "secret").exists()


def test_a_given_engine_that_does_not_answer_is_refused_with_what_to_do(up):
    refused = up(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert refused.end(None) == 1
    assert "REDIS_URL: does not answer" in refused.said
    assert "unset REDIS_URL" in refused.said


def test_what_ends_unasked_is_reported_and_started_again_and_too_often_ends_everything(up, folder):
    (folder / "Procfile").write_text(
        "clock: python patient.py\nweb: python -c 'raise SystemExit(3)'\n", encoding="utf-8"
    )

    house = up()

    assert house.end(None) == 1
    assert len(speakers(house.said, "ended unasked with exit code 3; started again in")) == 4
    assert "5 times within a minute: everything stops" in house.said
    assert speakers(house.said, "has gone") == ["clock"]


def test_a_killed_worker_and_a_killed_engine_are_back_on_their_own(up, folder):
    house = up().until_open()
    engines = Engines(folder / ".backroom")
    engines.find()
    (worker, *_others) = [
        process for process in psutil.Process(house.pid).children() if "patient.py" in process.cmdline()
    ]

    worker.kill()
    psutil.Process(engines.valkey.pid).kill()

    house.until("ended unasked with signal SIGKILL; started again").until("answers again")
    until(lambda: house.said.count("at work") == 3)
    assert house.end() == 0


def test_the_doctor_says_what_runs_and_breaks_on_what_forgets(up, folder, redis_url):
    house = up().until_open()

    found = diagnosis(folder, PORT=str(house.port))
    assert house.end() == 0

    assert {check["name"]: check["state"] for check in found.checks}["Tables"] == "ok"
    assert [check for check in found.checks if check["state"] == "broken"] == []
    assert found.code == 0

    gone = diagnosis(folder, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0", PORT=str(house.port))
    (broken,) = [check for check in gone.checks if check["state"] == "broken"]
    assert broken["name"] == "Valkey"
    assert "correct REDIS_URL" in broken["mend"]
    assert gone.code == 1

    with redis.Redis.from_url(redis_url) as client:
        client.config_set("appendonly", "no")
        try:
            (broken,) = [
                check
                for check in diagnosis(folder, REDIS_URL=redis_url, PORT=str(house.port)).checks
                if check["state"] == "broken"
            ]
        finally:
            client.config_set("appendonly", "yes")
    assert "forgets accepted jobs" in broken["found"]


def test_a_second_request_to_stop_hurries_and_says_so(up, folder):
    (folder / "Procfile").write_text("web: python door.py\nworker: python stubborn.py\n", encoding="utf-8")
    house = up().until_open().until("at work")
    house.send(signal.SIGINT)
    house.until("not yet")

    assert house.end(signal.SIGINT) == 0

    assert speakers(house.said, "you hurry: killed") == ["worker"]
