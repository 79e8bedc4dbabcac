"""The kit with which an application tests its jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Cancel, Invalid, Partial, Snooze
from backroom.domain.job import AppMessage, Message, job
from backroom.domain.limits import Limit, Rate, Unique
from backroom.queue.ops import Queues
from backroom.testing import JobQueue, job_queue
from backroom.tools import Tools

greeted: list[str] = []


class Greet(AppMessage, frozen=True, kw_only=True):
    user: str


class Remind(AppMessage, frozen=True, kw_only=True):
    user: str


class Count(Message, frozen=True, kw_only=True):
    n: int


class Poll(Message, frozen=True, kw_only=True):
    n: int


@job("user.greet", queue="quiet")
def greet(message: Greet, tools: Tools) -> dict:
    """Greet a user, and remind them the next day."""
    if message.user == "nobody":
        raise Invalid("/user", "is nobody")
    if message.user == "flaky" and not greeted:
        greeted.append("a try")
        raise RuntimeError("once")
    greeted.append(message.user)
    tools.later(Remind(app=message.app, user=message.user), delay=timedelta(days=1))
    return {"greeted": message.user}


@job("user.remind", unique=Unique(by=("user",)), backoff=Backoff(first=timedelta(minutes=1)))
def remind(message: Remind, tools: Tools) -> None:
    """Remind a user, but not of yesterday."""
    if message.user == "asleep":
        raise Snooze(timedelta(hours=8))
    if message.user == "gone":
        raise Cancel
    greeted.append(f"{message.user} again at {tools.now():%H}")


@job("site.poll", unique=Unique(by=("n",)))
def poll(message: Poll, tools: Tools) -> None:
    """Look at a site, and again in an hour."""
    greeted.append(f"polled {message.n}")
    tools.later(message, delay=timedelta(hours=1))
    if len(greeted) == 1:
        tools.commit()
        raise RuntimeError("once")


@job("count.all", batch=10)
def count_all(messages: Sequence[Count], tools: Tools) -> None:
    """Count, but nothing below zero."""
    bad = {at: Invalid("/n", "is below zero") for at, message in enumerate(messages) if message.n < 0}
    greeted.extend(str(message.n) for message in messages if message.n >= 0)
    if bad:
        raise Partial(bad)


@pytest.fixture
def queue(redis_url: str) -> Iterator[JobQueue]:
    greeted.clear()
    with job_queue(greet, remind, poll, count_all, redis_url=redis_url) as queue:
        yield queue


def test_what_a_job_hands_on_waits_for_its_time(queue: JobQueue):
    id = queue.send(Greet(app="shop", user="ada"))
    queue.assert_enqueued(Greet, user="ada")

    assert queue.run() == [id]

    (reminder,) = queue.assert_enqueued("user.remind", user="ada")
    assert isinstance(reminder.message, Remind)
    assert queue.run() == []
    began = queue.now
    queue.advance(timedelta(days=1))
    assert queue.run() == [reminder.id]
    queue.assert_nothing_enqueued()
    assert greeted == ["ada", f"ada again at {began:%H}"]
    assert queue.life(id).result == {"greeted": "ada"}


def test_an_assertion_says_what_waits_instead(queue: JobQueue):
    queue.send(Greet(app="shop", user="ada"))

    with pytest.raises(AssertionError, match=r"0 of Remind .* wait, not 1(.|\n)*user\.greet Greet\(app='shop'"):
        queue.assert_enqueued(Remind, user="ada")
    with pytest.raises(AssertionError, match="there still waits"):
        queue.assert_nothing_enqueued()


def test_what_a_job_raises_reaches_the_test_and_the_job_comes_again(queue: JobQueue):
    queue.send(Greet(app="shop", user="flaky"))

    with pytest.raises(RuntimeError, match="once"):
        queue.run()

    assert queue.run() == []
    queue.advance(timedelta(minutes=1))
    queue.run()
    assert greeted == ["a try", "flaky"]


def test_a_run_may_leave_errors_to_the_queue(queue: JobQueue):
    id = queue.send(Greet(app="shop", user="nobody"))

    queue.run(raising=False)

    assert [(one.id, one.reason) for one in queue.dead()] == [(id, "/user: is nobody")]


def test_outcomes_are_no_errors(queue: JobQueue):
    queue.send(Remind(app="shop", user="asleep"))
    gone = queue.send(Remind(app="shop", user="gone"))

    queue.run()

    queue.assert_enqueued(Remind, user="asleep")
    assert queue.life(gone).state == "cancelled"


def test_what_a_job_declares_holds_in_a_test(queue: JobQueue):
    first = queue.send(Remind(app="shop", user="ada"))
    second = queue.send(Remind(app="shop", user="ada"))

    assert first == second
    queue.assert_enqueued(Remind, count=1)


def test_a_batch_is_a_batch(queue: JobQueue):
    for n in (1, -2, 3):
        queue.send(Count(n=n))

    queue.run(raising=False)

    assert sorted(greeted) == ["1", "3"]
    assert [one.reason for one in queue.dead()] == ["/n: is below zero"]


def test_inline_each_message_runs_as_it_is_sent(redis_url: str):
    greeted.clear()
    with job_queue(greet, remind, inline=True, redis_url=redis_url) as queue:
        queue.send(Greet(app="shop", user="bo"))
        assert greeted == ["bo"]


def test_two_queues_do_not_see_each_other(redis_url: str):
    with job_queue(greet, redis_url=redis_url) as one, job_queue(greet, redis_url=redis_url) as other:
        one.send(Greet(app="shop", user="ada"))
        other.assert_nothing_enqueued()


def test_a_tool_that_is_missing_is_named(redis_url: str):
    @job("user.read")
    def read_user(message: Greet, tools: Tools) -> None:
        """Ask the memory."""
        tools.read.users.one(message.user)

    with job_queue(read_user, redis_url=redis_url) as queue:
        queue.send(Greet(app="shop", user="ada"))
        with pytest.raises(LookupError, match="unit"):
            queue.run()
    with job_queue(greet, redis_url=redis_url) as queue, pytest.raises(LookupError, match="no job of this queue"):
        queue.send(Remind(app="shop", user="ada"))
    with pytest.raises(Invalid, match="no job"), job_queue(print, redis_url=redis_url):
        pass


def test_an_engine_of_its_own_starts_where_none_is_given():
    greeted.clear()
    with job_queue(greet, remind) as queue:
        queue.send(Greet(app="shop", user="cy"))
        queue.run()

    assert greeted == ["cy"]


ACCOUNT = Limit(name="account", rate=Rate(1, per=timedelta(hours=1), burst=2))


@job("account.call")
def call_account(message: Greet, tools: Tools) -> None:
    """Call, if the account has a call left."""
    tools.within(ACCOUNT, message.user)
    greeted.append(message.user)


def test_a_limit_that_only_the_job_knows_sends_it_away_without_an_attempt(redis_url: str):
    greeted.clear()
    with job_queue(call_account, redis_url=redis_url) as queue:
        for user in ("ada", "ada", "ada", "bo"):
            queue.send(Greet(app="shop", user=user))
        queue.run()

        (waits,) = queue.assert_enqueued(Greet, user="ada")
        # An operator's word counts for it, too.
        assert (queue.life(waits.id).state, queue.life(waits.id).attempts) == ("scheduled", 0)
        Queues(queue.broker.client, prefix=queue.broker.prefix).limit(
            Limit(name="account", rate=Rate(1_000, per=timedelta(seconds=1), burst=1_000))
        )
        queue.advance(timedelta(hours=2))
        queue.run()

    assert greeted == ["ada", "ada", "bo", "ada"]


@pytest.mark.parametrize(
    "limit", [Limit(name="none", concurrent=1), Limit(name="both", concurrent=1, rate=ACCOUNT.rate)]
)
def test_what_runs_at_once_cannot_be_limited_from_within(redis_url: str, limit: Limit):
    @job("account.ask")
    def ask(message: Greet, tools: Tools) -> None:
        """Ask for what cannot be had."""
        tools.within(limit)

    with job_queue(ask, redis_url=redis_url) as queue:
        queue.send(Greet(app="shop", user="ada"))
        with pytest.raises(TypeError, match="needs a rate"):
            queue.run()


def test_a_long_job_breathes_and_tells_how_far_it_is(redis_url: str):
    told: list = []

    @job("pages.read")
    def read_pages(message: Greet, tools: Tools) -> None:
        """Read page after page."""
        tools.progress(0.25, "the first page")
        life = queue.life(tools.message_id)
        told.append((life.progress, life.note))
        tools.breathe()
        told.append("went on")
        Queues(queue.broker.client, prefix=queue.broker.prefix).cancel(tools.message_id)
        tools.breathe()
        told.append("went too far")

    with job_queue(read_pages, redis_url=redis_url) as queue:
        id = queue.send(Greet(app="shop", user="ada"))
        queue.run()
        assert queue.life(id).state == "cancelled"

    assert told == [(0.25, "the first page"), "went on"]


def test_a_long_job_that_breathes_goes_on_elsewhere_when_its_worker_stops(redis_url: str):
    @job("pages.read")
    def read_pages(message: Greet, tools: Tools) -> None:
        """Read page after page."""
        tools.breathe()

    stopping = iter([True, False])
    with job_queue(read_pages, redis_url=redis_url, stopping=lambda: next(stopping)) as queue:
        id = queue.send(Greet(app="shop", user="ada"))
        assert queue.run() == [id, id]
        assert (queue.life(id).state, queue.life(id).attempts) == ("done", 0)


def test_a_job_of_which_there_is_one_at_a_time_may_ask_for_itself_again(queue: JobQueue):
    queue.send(Poll(n=1))
    queue.send(Poll(n=1))

    # It fails once after it has asked, and then nothing follows but its next attempt.
    for _ in range(4):
        queue.run(raising=False)
        queue.assert_enqueued(Poll, n=1, count=1)
        queue.advance(timedelta(hours=1))

    assert greeted == ["polled 1"] * 4
