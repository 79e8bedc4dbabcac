"""Binds the jobs shelf to Dramatiq: a message comes in as JSON, a job gets its type and its tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import dramatiq
import msgspec
import structlog
from dramatiq.middleware import CurrentMessage

from backroom.domain.errors import BackroomError, EngineAway, Invalid, Outcome, Partial, Permanent
from backroom.domain.job import Job, Message
from backroom.queue.decide import BatchFailed, Behind
from backroom.queue.delivery import Delivery
from backroom.queue.finishing import worked_on
from backroom.queue.post import post_for
from backroom.queue.wire import Once, Post
from backroom.tools import HandOn, House, Tools
from workers.traced import ID, traceparent

log = structlog.get_logger()

# Runs a message's job in another process, and returns or raises what that does.
Elsewhere = Callable[[dramatiq.Message[Any]], Any]


def bind(broker: dramatiq.Broker, jobs: Iterable[Job], house: House, *, elsewhere: Elsewhere | None = None) -> None:
    """Declare an actor for every job.

    Args:
        broker: Where.
        jobs: Which.
        house: What they work with.
        elsewhere: Where those run that are isolated; here, if None.
    """
    for job in jobs:
        function = _batch(job, house) if job.batch else _single(job, house, elsewhere if job.isolated else None)
        options: dict[str, Any] = {
            "attempts": job.attempts,
            "backoff": job.backoff,
            "time_limit": round(job.time_limit.total_seconds() * 1000),
            "limits": job.limits,
            "kept": job.kept,
        }
        if job.batch:
            options |= {
                "batch": job.batch,
                "linger_ms": round(job.linger.total_seconds() * 1000),
                "ordered": job.ordered,
            }
        dramatiq.actor(actor_name=job.name, queue_name=job.queue, broker=broker, **options)(function)


def send_on(
    later: Sequence[HandOn], *, job_for: Callable[[type[Message]], Job], send: Callable[[Sequence[Post]], object]
) -> None:
    """Put on the queue what a job has handed on.

    Where only the message in hand is in the way, for both are one of a kind, it is enqueued with the end of that one.

    Args:
        later: What it was.
        job_for: Knows whose messages are of a type.
        send: Sends at once.
    """
    at_once = []
    for one in later:
        job = job_for(type(one.message))
        post = post_of(job, one)
        delivery = worked_on()
        if delivery is not None and _is_in_the_way(delivery, job, post):
            delivery.follow_with(post)
        else:
            at_once.append(post)
    if at_once:
        send(at_once)


def _is_in_the_way(delivery: Delivery, job: Job, post: Post) -> bool:
    if job.unique is None or post.unique is None or post.unique.mode != "r" or delivery.actor_name != job.name:
        return False
    messages = (held.message.kwargs["message"] for held in delivery.held)
    return any(job.unique.key(job.name, _typed(job, message)) == post.unique.key for message in messages)


def post_of(job: Job, later: HandOn) -> Post:
    """What a job has handed on, ready for the queue."""
    once = Once(key=later.id, window=later.once) if later.once else None
    return post_for(job, later.message, id=later.id, delay=later.delay, once=once, trace=later.trace)


def run_one(job: Job, house: House, envelope: dramatiq.Message[Any]) -> Any:
    """Run a job that takes single messages, and make what it wrote last."""
    message = envelope.kwargs["message"]
    return _work(job, house, lambda tools: job.function(_typed(job, message), tools), [envelope], _app(message))


def _single(job: Job, house: House, elsewhere: Elsewhere | None) -> Callable[..., None]:
    def run(*, message: dict[str, Any]) -> None:  # noqa: ARG001 - Dramatiq calls with what the envelope holds
        envelope = CurrentMessage.get_current_message()
        if envelope is None:
            raise LookupError("the CurrentMessage middleware is missing")
        # Whoever runs it, and however often, goes on in the same trace.
        traceparent([envelope])
        result = elsewhere(envelope) if elsewhere else run_one(job, house, envelope)
        if isinstance(envelope, Delivery):
            # Not by `return`: Dramatiq would warn that nobody keeps it.
            envelope.result = result

    return run


def _batch(job: Job, house: House) -> Callable[..., None]:
    def run(envelopes: Sequence[dramatiq.Message[Any]]) -> None:
        failed: dict[str, BaseException] = {}
        # Rows belong to one application, and so does a transaction. Sorting is stable: each one's order stays.
        for app, group in groupby(sorted(envelopes, key=_envelope_app), key=_envelope_app):
            failed |= _failures(job, house, list(group), app)
        if failed:
            raise BatchFailed(failed)

    return run


def _failures(job: Job, house: House, envelopes: Sequence[dramatiq.Message[Any]], app: str) -> dict[str, BaseException]:
    """Work on messages together, and say what became of those that are not done."""

    def work(tools: Tools) -> None:
        job.function([_typed(job, envelope.kwargs["message"]) for envelope in envelopes], tools)

    try:
        _work(job, house, work, envelopes, app)
    except Partial as error:
        return {envelopes[at].message_id: failure for at, failure in error.failures.items()}
    except (EngineAway, Outcome) as error:
        return dict.fromkeys((envelope.message_id for envelope in envelopes), error)
    except Exception as error:  # noqa: BLE001 - whatever a job raises: find the message that makes it
        if len(envelopes) == 1:
            _log_broken(job, envelopes[0], error)
            return {envelopes[0].message_id: error}
        log.info("batch.split", job=job.name, count=len(envelopes), error=type(error).__name__)
        return _failures_by_halves(job, house, envelopes, app)
    return {}


def _failures_by_halves(
    job: Job, house: House, envelopes: Sequence[dramatiq.Message[Any]], app: str
) -> dict[str, BaseException]:
    middle = len(envelopes) // 2
    failed = _failures(job, house, envelopes[:middle], app)
    if job.ordered and any(_comes_again(failed.get(one.message_id)) for one in envelopes[:middle]):
        behind = Behind("one before it comes again")
        return failed | dict.fromkeys((one.message_id for one in envelopes[middle:]), behind)
    return failed | _failures(job, house, envelopes[middle:], app)


def _log_broken(job: Job, envelope: dramatiq.Message[Any], error: Exception) -> None:
    # Nobody else will: the batch fails as a whole, and Dramatiq logs that without the frames of each failure.
    if not isinstance(error, BackroomError):
        log.error("batch.broken", job=job.name, message=envelope.message_id, exc_info=error)


def _comes_again(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, Permanent)


def _work(
    job: Job, house: House, work: Callable[[Tools], Any], envelopes: Sequence[dramatiq.Message[Any]], app: str
) -> Any:
    trace, awaited = traceparent(envelopes), frozenset(_awaited(envelopes))
    tools = Tools(house, app=app, message_id=envelopes[0].message_id, awaited=awaited, trace=trace)
    # A single message's is looked up where something is logged, unless that is in another process.
    known = {"trace": trace[ID]} if job.batch or job.isolated else {}
    with structlog.contextvars.bound_contextvars(job=job.name, message=tools.message_id, **known):
        try:
            result = _committed(work, tools)
        finally:
            tools.close()
    return result


def _committed(work: Callable[[Tools], Any], tools: Tools) -> Any:
    try:
        result = work(tools)
    except Partial:
        # What it did of the others stays.
        tools.commit()
        raise
    tools.commit()
    return result


def _awaited(envelopes: Iterable[dramatiq.Message[Any]]) -> Iterable[str]:
    return (envelope.message_id for envelope in envelopes if envelope.options.get("answer"))


def _typed(job: Job, message: object) -> Message:
    try:
        return msgspec.convert(message, job.message, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid("/message", f"does not fit {job.message.__name__}: {error}") from error


def _app(message: object) -> str:
    app = message.get("app", "") if isinstance(message, dict) else ""
    return app if isinstance(app, str) else ""


def _envelope_app(envelope: dramatiq.Message[Any]) -> str:
    return _app(envelope.kwargs.get("message"))
