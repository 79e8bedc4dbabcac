"""A batch that has to be split keeps its order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dramatiq
import pytest
import structlog

from backroom.domain.errors import Invalid, Partial, Snooze, StoreAway
from backroom.domain.job import DECLARATION, AppMessage, Job, job
from backroom.queue.decide import BatchFailed, Behind
from backroom.tools import Tools
from workers.bind import _batch


class Note(AppMessage, frozen=True, kw_only=True):
    text: str


def envelopes(*texts: str) -> list[dramatiq.Message[Any]]:
    return [
        dramatiq.Message(
            queue_name="note.take",
            actor_name="note.take",
            args=(),
            kwargs={"message": {"app": "shop", "text": text}},
            options={},
            message_id=text,
        )
        for text in texts
    ]


def bound(trouble: dict[str, Exception], taken: list[str], *, ordered: bool) -> Any:
    """A batch job that takes notes, but not those that are trouble."""

    @job("note.take", batch=10, ordered=ordered)
    def take_notes(messages: Sequence[Note], tools: Tools) -> None:
        for message in messages:
            if message.text in trouble:
                raise trouble[message.text]
        taken.extend(message.text for message in messages)

    declared: Job = getattr(take_notes, DECLARATION)
    return _batch(declared, SimpleNamespace())  # type: ignore[arg-type]  # the job asks for nothing of the house


@pytest.mark.parametrize("error", [ValueError("once more"), StoreAway("gone for a moment")])
def test_what_comes_after_a_message_that_is_tried_again_waits_for_it(error: Exception) -> None:
    taken: list[str] = []
    # The fourth makes the batch fall apart, the second then fails alone.
    run = bound({"b": error, "d": Invalid("/text", "is never right")}, taken, ordered=True)

    with pytest.raises(BatchFailed) as told:
        run(envelopes("a", "b", "c", "d"))

    assert set(taken) <= {"a"}
    assert isinstance(told.value.failures["b"], type(error))
    assert {type(told.value.failures[name]) for name in ("c", "d")} <= {Behind, StoreAway}


def test_a_message_that_will_never_do_holds_up_nobody() -> None:
    taken: list[str] = []
    run = bound({"b": Invalid("/text", "is never right")}, taken, ordered=True)

    with pytest.raises(BatchFailed) as told:
        run(envelopes("a", "b", "c", "d"))

    assert taken == ["a", "c", "d"]
    assert set(told.value.failures) == {"b"}


def test_where_order_was_not_promised_the_others_go_on() -> None:
    taken: list[str] = []
    run = bound({"b": ValueError("once more")}, taken, ordered=False)

    with pytest.raises(BatchFailed) as told:
        run(envelopes("a", "b", "c", "d"))

    assert taken == ["a", "c", "d"]
    assert set(told.value.failures) == {"b"}


def test_what_broke_a_batch_is_logged_with_its_trace_and_what_was_foreseen_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    try:
        with pytest.raises(BatchFailed):
            bound({"b": KeyError("x"), "c": Invalid("/text", "is never right")}, [], ordered=False)(
                envelopes("a", "b", "c")
            )
    finally:
        structlog.reset_defaults()

    (broken,) = [record for record in caplog.records if "batch.broken" in record.getMessage()]
    assert "raise trouble[message.text]" in broken.getMessage()


def test_a_batch_may_say_what_became_of_each_message() -> None:
    @job("note.take", batch=10)
    def take_notes(messages: Sequence[Note], tools: Tools) -> None:
        raise Partial({1: Invalid("/text", "is never right"), 2: Snooze(timedelta(minutes=1))})

    run = _batch(getattr(take_notes, DECLARATION), SimpleNamespace())  # type: ignore[arg-type]  # as above

    with pytest.raises(BatchFailed) as told:
        run(envelopes("a", "b", "c", "d"))

    assert {name: type(error) for name, error in told.value.failures.items()} == {"b": Invalid, "c": Snooze}
