"""A worker has as many connections as it has threads, whatever their number."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from tests.house import TestHouse, until

THREADS = 40
JOB = f'''
"""A job that holds its transaction until as many run as there are threads."""
import threading

from backroom.domain.job import AppMessage, job
from backroom.tools import Tools

together = threading.Barrier({THREADS})


class Meet(AppMessage, frozen=True, kw_only=True):
    """Nothing to say."""


@job("{{name}}", queue="{{name}}", attempts=1)
def meet(message: Meet, tools: Tools) -> None:
    """Wait for the others with a connection in hand."""
    tools.read.users.one("ada")
    together.wait(30)
'''


def test_every_thread_of_a_worker_may_hold_a_connection(
    house: TestHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"meet_{uuid.uuid4().hex}"
    jobs = tmp_path / name / "jobs"
    jobs.mkdir(parents=True)
    for package in (jobs.parent, jobs):
        (package / "__init__.py").touch()
    (jobs / "meet.py").write_text(JOB.format(name=f"{name}.now"))
    monkeypatch.syspath_prepend(tmp_path)
    ids = [str(uuid.uuid4()) for _ in range(THREADS)]
    posts = [Post(job=f"{name}.now", queue=f"{name}.now", message={"app": house.app.id}, id=id) for id in ids]
    with open_client(house.settings.redis_url) as client:
        Sender(client, prefix=house.settings.key_prefix).send(posts)

    house.start_worker(threads=THREADS, backroom_shelves=name)

    queues = house.queues()
    until(lambda: all(queues.find(id)[0] in {"done", "dead"} for id in ids), within=60, what="all have met")
    assert {queues.find(id)[0] for id in ids} == {"done"}
