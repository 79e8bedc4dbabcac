"""Importing declares, and does nothing: no engine, no carrier's SDK, no socket, no thread."""

from __future__ import annotations

import json

import pytest

from tests.scratch import HOME, python_in

WATCHED = """
import sys
did = []
WATCHED = ("socket.", "subprocess.", "os.exec")
sys.addaudithook(lambda event, args: did.append(event) if event.startswith(WATCHED) else None)
"""

SHELF = (
    WATCHED
    + """
import importlib, json, pkgutil, threading
shelf = importlib.import_module(sys.argv[1])
for entry in pkgutil.iter_modules(shelf.__path__):
    importlib.import_module(f"{shelf.__name__}.{entry.name}")
print(json.dumps({"loaded": sorted(sys.modules), "did": did, "threads": threading.active_count()}))
"""
)

DOOR = """
import json, sys
from api_shim.app import app, open_door
from backroom.settings import Settings
door = open_door(Settings(_env_file=None, redis_url="redis://127.0.0.1/0",
                          database_url="postgresql://127.0.0.1/nowhere", backroom_secret="x" * 40))
app(door)
assert door.shelves.channels and door.shelves.jobs
print(json.dumps(sorted(sys.modules)))
"""

ENGINES = {"dramatiq", "redis", "sqlalchemy", "psycopg", "falcon", "apscheduler", "httpx", "uvicorn"}
CARRIERS = {"twilio", "sendgrid", "python_http_client"}


@pytest.mark.parametrize("shelf", ["jobs", "alerts", "channels"])
def test_importing_a_shelf_is_silent(shelf):
    done = python_in(HOME, "-c", SHELF, shelf)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["did"] == []
    assert found["threads"] == 1
    assert (ENGINES | CARRIERS) & set(found["loaded"]) == set()


def test_the_front_door_loads_no_carriers_sdk_and_nothing_that_writes():
    done = python_in(HOME, "-c", DOOR)

    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert CARRIERS & loaded == set()
    assert {
        "backroom.store.write",
        "backroom.store.unit",
        "backroom.store.admin",
        "workers",
        "dramatiq",
    } & loaded == set()
