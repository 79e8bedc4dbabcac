"""What an isolated job returns or raises comes back over the pipe as if it had been raised here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from multiprocessing import Pipe
from threading import Lock

import pytest

from backroom.domain.errors import Cancel, Invalid, Permanent, Snooze, StoreAway, Unreachable
from backroom.domain.job import Message, job
from workers.isolation import receive, reply


class Unfit(Permanent):
    def __init__(self) -> None:
        super().__init__("never again")
        self.lock = Lock()


class Ask(Message, frozen=True, kw_only=True):
    n: int = 0


def travelled(result: object = None, error: BaseException | None = None) -> tuple[object, BaseException | None]:
    here, there = Pipe()
    with here, there:
        reply(there, result, error)
        return receive(here)


@pytest.mark.parametrize(
    "error",
    [
        Invalid("/n", "is wrong", "another one"),
        Snooze(timedelta(seconds=3), "not yet"),
        Unreachable("no answer", code="30001", after=timedelta(seconds=9), maybe_sent=True),
        StoreAway("gone"),
        Cancel(),
        ValueError("a bug"),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_with_all_that_it_says(error):
    _, found = travelled(error=error)

    assert type(found) is type(error)
    assert str(found) == str(error)
    assert found.args == error.args
    assert vars(error).items() <= vars(found).items()
    assert "In the process of its own" in found.__notes__[-1]


def test_an_error_that_cannot_travel_keeps_its_words_and_that_it_is_final():
    _, found = travelled(error=Unfit())

    assert type(found) is Permanent
    assert str(found) == "Unfit: never again"


def test_a_result_that_cannot_travel_is_an_error():
    _, found = travelled(result=Lock())

    assert isinstance(found, RuntimeError)
    assert "pickle" in str(found)


def test_a_result_comes_back():
    assert travelled(result={"n": 1}) == ({"n": 1}, None)


def test_a_batch_job_cannot_be_isolated():
    with pytest.raises(TypeError, match=r"thing\.do"):

        @job("thing.do", batch=10, isolated=True)
        def do_things(messages: Sequence[Ask], tools: object) -> None:
            raise AssertionError
