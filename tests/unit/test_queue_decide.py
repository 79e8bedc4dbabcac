"""What follows from what a job raised."""

from __future__ import annotations

from datetime import timedelta

import pytest
from dramatiq import Message
from dramatiq.errors import ConnectionClosed, Retry
from dramatiq.middleware import Shutdown

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Cancel, Full, Invalid, QueueAway, Snooze, StoreAway, Unreachable
from backroom.queue.decide import decide
from backroom.queue.decisions import Again, Dead, Done, Release

BACKOFF = Backoff(first=timedelta(seconds=4), jitter=0)


def message(**options: object) -> Message:
    return Message(queue_name="work", actor_name="user.greet", args=(), kwargs={}, options=options, message_id="m")


def decision(error: BaseException, *, attempts: int = 3, **options: object) -> object:
    return decide(message(**options), error, attempts=attempts, backoff=BACKOFF)


def test_a_permanent_error_is_never_tried_again():
    assert decision(Invalid("/to", "is not a user")) == Dead(reason="/to: is not a user")


def test_a_cancelled_job_is_over():
    assert decision(Cancel()) == Done(state="cancelled")


def test_a_snoozed_job_comes_back_without_an_attempt():
    asked = message()

    decided = decide(asked, Snooze(timedelta(minutes=5)), attempts=1, backoff=BACKOFF)

    assert decided == Again(after=timedelta(minutes=5), counted=False)
    assert asked.options == {}


@pytest.mark.parametrize("error", [StoreAway(), QueueAway(), ConnectionClosed("away")])
def test_an_engine_that_is_away_burns_no_attempt(error: Exception):
    asked = message(attempt=2)

    assert decide(asked, error, attempts=3, backoff=BACKOFF) == Release(engine_away=True)
    assert asked.options == {"attempt": 2}


def test_a_job_that_was_cut_by_a_deploy_burns_no_attempt():
    assert decision(Shutdown("stop")) == Release()


def test_any_other_error_waits_by_the_backoff():
    assert decision(RuntimeError("odd"), attempt=1) == Again(after=timedelta(seconds=8))


def test_the_last_attempt_ends_in_the_dead_letters_with_what_was_raised():
    assert decision(RuntimeError("odd"), attempt=2) == Dead(reason="RuntimeError: odd")


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("busy", after=timedelta(seconds=90)),
        Full("carrier", after=timedelta(seconds=90)),
        Retry("later", delay=90_000),
    ],
)
def test_a_wait_that_was_asked_for_is_kept(error: Exception):
    assert decision(error) == Again(after=timedelta(seconds=90))


def test_only_the_last_errors_are_kept_and_each_is_short():
    asked = message()

    for n in range(5):
        decide(asked, RuntimeError(f"{n}" * 10_000), attempts=9, backoff=BACKOFF)

    assert asked.options["attempt"] == 5
    assert [error[:15] for error in asked.options["errors"]] == [f"RuntimeError: {n}" for n in (2, 3, 4)]
    assert all(len(error) == 500 for error in asked.options["errors"])
