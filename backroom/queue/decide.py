"""What follows from what a job raised: once more, never again, or nothing at all."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from dramatiq.errors import BrokerConnectionError, Retry
from dramatiq.middleware import Middleware, Retries, Shutdown

from backroom.domain.backoff import Backoff
from backroom.domain.errors import BackroomError, Cancel, EngineAway, Full, Permanent, Snooze, Unreachable
from backroom.queue.decisions import Again, Dead, Decision, Done, Release
from backroom.queue.delivery import Delivery
from backroom.queue.wire import MOST_ERROR_CHARS, MOST_ERRORS

if TYPE_CHECKING:
    from dramatiq import Actor, Broker, Message, MessageProxy

ATTEMPTS = 12
_OURS = frozenset({"attempts", "backoff"})

log = structlog.get_logger()


class BatchFailed(BackroomError):
    """A batch job did some of its messages only.

    Args:
        failures: What each failed message would have raised alone, by message id; those not named are done.
    """

    def __init__(self, failures: Mapping[str, BaseException]) -> None:
        super().__init__(f"{len(failures)} messages of the batch failed")
        self.failures = dict(failures)


class Behind(BackroomError):
    """A message of an ordered batch was not begun, because one before it has to be tried again first."""


class Decide(Middleware):
    """Decides about a delivery when its job has ended.

    Actor options: `attempts` (12) and `backoff` (`Backoff()`). Where Dramatiq's `Retries` run, too, they keep what is
    theirs: a failure of an actor that sets neither of these and takes no batches, with an error that is not ours.
    """

    @property
    def actor_options(self) -> set[str]:
        """What an actor may set."""
        return {*_OURS, "throws"}

    def after_declare_actor(self, broker: Broker, actor: Actor[..., Any]) -> None:  # noqa: ARG002 - its signature
        """Have Dramatiq log what is part of the trade without a stack of frames."""
        if not _OURS.isdisjoint(actor.options):
            actor.options.setdefault("throws", BackroomError)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002 - its signature
        exception: BaseException | None = None,
    ) -> None:
        """Decide, unless somebody else has done so."""
        if not isinstance(message, Delivery) or message.otherwise is not None:
            return
        if exception is None:
            message.decide(Done())
            return
        actor = broker.get_actor(message.actor_name)
        if not isinstance(exception, BackroomError) and _is_stock(broker, actor):
            return
        attempts: int = actor.options.get("attempts", ATTEMPTS)
        backoff: Backoff = actor.options.get("backoff") or Backoff()
        failures = exception.failures if isinstance(exception, BatchFailed) else None
        decisions = {
            held.message.message_id: decide(
                held.message,
                exception if failures is None else failures[held.message.message_id],
                attempts=attempts,
                backoff=backoff,
            )
            for held in message.held
            if failures is None or held.message.message_id in failures
        }
        # A release of the whole delivery also tells the hub to pause, so it must be seen as such.
        away = next((one for one in decisions.values() if isinstance(one, Release) and one.engine_away), None)
        message.decide(away if away and failures is None else Done(), except_for=decisions)
        if all(isinstance(decisions.get(held.message.message_id), Dead) for held in message.held):
            # For the hooks that Dramatiq runs around a dead letter.
            message.fail()


def _is_stock(broker: Broker, actor: Actor[..., Any]) -> bool:
    ours = not {*_OURS, "batch"}.isdisjoint(actor.options)
    return not ours and any(isinstance(middleware, Retries) for middleware in broker.middleware)


def decide(message: Message[Any], error: BaseException, *, attempts: int, backoff: Backoff) -> Decision:
    """The decision about one message whose job raised an error; a counted failure is noted in its options."""
    if isinstance(error, Cancel):
        log.info("job.cancelled", job=message.actor_name, id=message.message_id)
        return Done()
    if isinstance(error, Snooze):
        return Again(after=error.after, counted=False)
    if isinstance(error, (EngineAway, BrokerConnectionError)):
        log.warning("job.released", job=message.actor_name, id=message.message_id, error=type(error).__name__)
        return Release(engine_away=True)
    if isinstance(error, (Shutdown, Behind)):
        return Release()
    attempt = _note_failure(message, error)
    said = _words(error)
    if isinstance(error, Permanent) or attempt >= attempts:
        log.warning(
            "job.dead", job=message.actor_name, id=message.message_id, attempt=attempt, error=type(error).__name__
        )
        return Dead(reason=str(error) if isinstance(error, Permanent) else said)
    after = _asked_wait(error)
    if after is None:
        after = backoff.wait(attempt, chance=random.random())  # noqa: S311 - jitter, not a secret
    log.info("job.again", job=message.actor_name, id=message.message_id, attempt=attempt, error=type(error).__name__)
    return Again(after=after)


def _note_failure(message: Message[Any], error: BaseException) -> int:
    attempt = int(message.options.get("attempt", 0)) + 1
    message.options["attempt"] = attempt
    message.options["errors"] = [*message.options.get("errors", []), _words(error)][-MOST_ERRORS:]
    return attempt


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:MOST_ERROR_CHARS]


def _asked_wait(error: BaseException) -> timedelta | None:
    if isinstance(error, (Unreachable, Full)):
        return error.after
    if isinstance(error, Retry) and error.delay is not None:
        return timedelta(milliseconds=error.delay)
    return None
