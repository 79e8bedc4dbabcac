"""A request's `traceparent` goes on through the queue: into messages, into what they hand on, and into the logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
import structlog
from structlog.testing import LogCapture

from backroom.domain.job import Message, job
from backroom.domain.trace import begin, parse
from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from backroom.tools import Tools
from backroom.words import Words
from tests.house import TestHouse, until
from tests.integration.queue_engine import post, running, working
from workers.bind import bind
from workers.traced import name_trace, traceparent

ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ASKED = {"traceparent": f"00-{ID}-{PARENT}-01"}
SHELVES = Shelves()
JOBS = SHELVES.jobs
ORDER = Words(SHELVES.templates).types["order_shipped"].example


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, name_trace, capture])
    yield capture
    structlog.reset_defaults()


def traces(house: TestHouse, job: str) -> list[str]:
    found = [one for one in house.queues().peek(JOBS[job].queue) if one.actor_name == job]
    return [one.options.get("trace", "") for one in found]


def put_user(house: TestHouse, name: str, **headers: str) -> None:
    answer = house.client().put(f"/v1/users/{name}", json={"contacts": {"email": "a@example.com"}}, headers=headers)
    assert answer.is_success, answer.text


def test_a_request_s_trace_goes_on_into_its_message_and_into_what_that_hands_on(house: TestHouse):
    first, second = JOBS["notification.send"], JOBS["delivery.attempt"]
    assert first.queue != second.queue, "the second queue can be paused while the first one runs"
    put_user(house, "ada")
    house.client().post(
        "/v1/notifications",
        json={"type": "order_shipped", "to": ["ada"], "data": ORDER},
        headers=ASKED,
    ).raise_for_status()

    (sent,) = traces(house, first.name)
    assert parse(sent).id == ID
    assert parse(sent).parent != PARENT

    house.queues().rule(second.queue, intake="paused")
    house.start_worker()
    handed_on = until(lambda: traces(house, second.name), what="the letters are handed on")
    assert {parse(one).id for one in handed_on} == {ID}
    assert {sent, *ASKED.values()}.isdisjoint(handed_on)


@pytest.mark.parametrize("said", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"00-{ID.upper()}-{PARENT}-01"])
def test_where_it_is_missing_or_not_valid_a_new_trace_begins(house: TestHouse, said: str):
    put_user(house, "ada", **({"traceparent": said} if said else {}))

    (sent,) = traces(house, "user.put")

    assert parse(sent) is not None
    assert parse(sent).id not in {ID, "0" * 32}


def test_two_requests_on_one_connection_do_not_share_a_trace(house: TestHouse):
    client = house.client()
    client.put("/v1/users/ada", json={}, headers=ASKED).raise_for_status()
    client.put("/v1/users/bob", json={}).raise_for_status()

    assert [parse(one).id == ID for one in traces(house, "user.put")] == [True, False]


def test_every_event_of_a_job_names_its_trace_and_the_next_job_s_does_not(house: TestHouse, logged: LogCapture):
    house.start_worker(threads=1)
    for id, trace in (("traced", ASKED["traceparent"]), ("untraced", "")):
        # For a user, and names none: no attempt can help.
        post = Post(job="user.put", queue=JOBS["user.put"].queue, message={"app": house.app.id}, id=id, trace=trace)
        with open_client(house.settings.redis_url) as client:
            Sender(client, prefix=house.settings.key_prefix).send([post])
        until(lambda sent=id: house.queues().find(sent)[0] == "dead", what="it is dead")

    told = {entry["id"]: entry.get("trace") for entry in logged.entries if entry["event"] == "job.dead"}
    assert told["traced"] == ID
    # One begins where there was none, and stays with the message.
    assert told["untraced"] not in {ID, None}
    assert f"-{told['untraced']}-".encode() in house.queues().find("untraced")[1]


def test_a_batch_goes_on_in_a_trace_only_if_all_of_it_belongs_there():
    def message(trace: str) -> dramatiq.Message:
        options = {"trace": trace} if trace else {}
        return dramatiq.Message(queue_name="q", actor_name="a", args=(), kwargs={}, options=options)

    mine, sibling = ASKED["traceparent"], f"00-{ID}-{PARENT[::-1]}-01"
    other = str(begin())

    assert traceparent([message(mine), message(sibling)]) == mine
    for several in ([mine, other], [mine, ""], ["", mine], ["", ""]):
        assert parse(traceparent([message(one) for one in several])).id not in {ID, parse(other).id}
    assert traceparent([one := message("")]) == one.options["trace"] == traceparent([one])


class Alone(Message, frozen=True, kw_only=True):
    n: int


@job("test.alone", isolated=True)
def alone(message: Alone, tools: Tools) -> None:
    raise AssertionError("it runs elsewhere")


@pytest.mark.parametrize("given", [ASKED["traceparent"], ""])
def test_a_job_that_runs_elsewhere_takes_its_trace_along(tmp_path: Path, given: str):
    taken: list[str] = []
    with running(tmp_path) as engine, open_client(engine.url) as client:
        Sender(client, prefix="br").send([post("test.alone", queue="default", trace=given)])
        with working(
            engine,
            lambda broker: bind(
                broker, [alone.__job__], None, elsewhere=lambda envelope: taken.append(envelope.options["trace"])
            ),
        ):
            until(lambda: taken, what="it ran")

    assert parse(taken[0]) is not None
    assert taken[0] == given or not given
