"""The promise, kept by the Procfile's own processes: what was accepted is sent once, or said to be unknown."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from backroom.cli import _procfile
from backroom.embedded import Engines
from backroom.simulator.run import Simulator
from backroom.store.admin import create_application
from backroom.store.migrate import upgrade
from tests.house import SECRET, free_port, until

ROOT = Path(__file__).parents[2]
NOTIFICATIONS = 2_000
USERS = 50
WORKER_KILLS = 6


class Crew:
    """The Procfile's processes, each of which can be killed with everything below it and started again."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._environ = environ
        self._log = log.open("ab")
        self._commands = _procfile.read(ROOT / "Procfile")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, process: str = "") -> None:
        command = _procfile.words(self._commands[process or name], self._environ)
        self._running[name] = subprocess.Popen(
            command, env=self._environ, cwd=ROOT, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            child.kill()
        process.wait(10)

    def alive(self, name: str) -> bool:
        return self._running[name].poll() is None

    def stop(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._log.close()


@pytest.mark.e2e
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_two_thousand_notifications_survive_kills_of_every_worker_and_of_valkey(reachable_home: Path, tmp_path: Path):
    engines = Engines(reachable_home)
    engines.start()
    assert engines.valkey
    assert engines.postgres
    upgrade(engines.postgres.url)
    app = create_application(engines.postgres.url, name="shop", secret=SECRET.encode())
    port = free_port()
    with Simulator(tmp_path / "simulator") as simulator:
        environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PORT": str(port),
            "REDIS_URL": engines.valkey.url,
            "DATABASE_URL": engines.postgres.url,
            "BACKROOM_SECRET": SECRET,
            "BACKROOM_HOME": str(reachable_home),
            "SIMULATOR_URL": simulator.url,
            "SIMULATOR_SMTP_PORT": str(simulator.smtp_port),
            # Short, so that what a killed worker held is taken up while we watch.
            "LEASE_MS": "3000",
            "PYTHONUNBUFFERED": "1",
        }
        crew = Crew(environ, tmp_path / "log")
        try:
            for name, process in (("web", "web"), ("clock", "clock"), ("worker.1", "worker"), ("worker.2", "worker")):
                crew.start(name, process)
            report = _story(crew, engines, simulator, f"http://127.0.0.1:{port}", app.secret_key.text)
        finally:
            crew.stop()
            engines.stop()
    print(report)  # noqa: T201 - the figures are what this test is run for


def _story(crew: Crew, engines: Engines, simulator: Simulator, url: str, key: str) -> str:
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10)
    with client:
        until(lambda: _ready(client), within=60, every=0.2, what="the door answers")
        for number in range(USERS):
            contacts = {"email": f"reader{number}@example.com"}
            assert client.put(f"/v1/users/u{number}", json={"contacts": contacts}).status_code == 202
        example = next(k["example"] for k in client.get("/v1/types").json()["types"] if k["name"] == "order_shipped")

        with ThreadPoolExecutor(4) as senders:
            posting = senders.map(lambda number: _post(client, number, example), range(NOTIFICATIONS))
            # Here and not in a thread: an engine ends with the thread that started it.
            _kill_now_and_then(crew, engines)
            ids = list(posting)

        assert len(set(ids)) == NOTIFICATIONS
        states = until(lambda: _final_states(client, ids), within=240, every=1, what="every notification is settled")
        summary = simulator.summary()
        letters = Counter(letter["delivery"] for letter in simulator.letters())

    # Exactly once, save those it says it does not know about: they went out once or not at all.
    sent = [delivery for delivery, state in states.items() if state == "sent"]
    unknown = [delivery for delivery, state in states.items() if state == "unknown"]
    assert len(states) == NOTIFICATIONS
    assert len(sent) + len(unknown) == NOTIFICATIONS, Counter(states.values())
    assert [letters[delivery] for delivery in sent] == [1] * len(sent)
    assert all(letters[delivery] <= 1 for delivery in unknown)
    assert set(letters) <= set(states)
    # A kill hits a handful of letters in flight, not the bulk: otherwise "unknown" would be a way to win this test.
    assert len(unknown) <= WORKER_KILLS * 8
    return f"accepted {NOTIFICATIONS}, sent once {len(sent)}, unknown {len(unknown)}, simulator {summary}"


def _kill_now_and_then(crew: Crew, engines: Engines) -> None:
    chance = random.Random(20261123)
    for kill in range(WORKER_KILLS):
        time.sleep(chance.uniform(1.5, 3.0))
        name = f"worker.{kill % 2 + 1}"
        crew.kill(name)
        crew.start(name, "worker")
        if kill == WORKER_KILLS // 2:
            assert engines.valkey
            os.kill(engines.valkey.pid, signal.SIGKILL)
            until(lambda: "valkey" in engines.ended(), what="Valkey has ended")
            engines.revive("valkey")


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").json()["status"] == "ok"
    except httpx.HTTPError:
        return False


def _post(client: httpx.Client, number: int, example: dict) -> str:
    """Post as a careful client would: with a key, and again when there was no answer or a 503."""
    body = {
        "type": "order_shipped",
        "to": [f"u{number % USERS}"],
        "data": example,
        "channels": ["email"],
        "idempotency_key": f"order-{number}",
    }

    def posted() -> str:
        try:
            answer = client.post("/v1/notifications", json=body)
        except httpx.TransportError:
            return ""
        if answer.status_code == 503:
            assert answer.headers["Retry-After"]
            return ""
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    return until(posted, within=60, what="the door accepts")


def _final_states(client: httpx.Client, ids: list[str]) -> dict[str, str]:
    """Delivery id to state, once all are final; nothing before."""
    states: dict[str, str] = {}
    after = None
    while True:
        page = client.get("/v1/notifications", params={"limit": 100, **({"after": after} if after else {})}).json()
        for notification in page["notifications"]:
            if notification["state"] != "settled" or not notification["deliveries"]:
                return {}
            for delivery in notification["deliveries"]:
                if delivery["channel"] == "email":
                    states[delivery["id"]] = delivery["state"]
        after = page["next"]
        if after is None:
            return states if len(states) == len(ids) else {}
