"""What follows from what a job raised: once more, never again, or nothing at all."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
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
MOST_RESULT_BYTES = 4_096
NOT_KEPT = timedelta(0)
_DONE = Done()
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

    Actor options: `attempts` (12), `backoff` (`Backoff()`) and `kept`, how long the job's end can be asked for (not).
    Where Dramatiq's `Retries` run, too, they keep what is theirs: a failure of an actor that sets neither attempts nor
    backoff and takes no batches, with an error that is not ours.
    """

    @property
    def actor_options(self) -> set[str]:
        """What an actor may set."""
        return {*_OURS, "kept", "throws"}

    def after_declare_actor(self, broker: Broker, actor: Actor[..., Any]) -> None:  # noqa: ARG002 - its signature
        """Have Dramatiq log what is part of the trade without a stack of frames."""
        if not _OURS.isdisjoint(actor.options):
            actor.options.setdefault("throws", BackroomError)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Decide, unless somebody else has done so."""
        if not isinstance(message, Delivery) or message.otherwise is not None:
            return
        actor = broker.get_actor(message.actor_name)
        kept: timedelta = actor.options.get("kept", NOT_KEPT)
        if exception is None:
            returned = message.result if result is None else result
            small = _small(message, returned) if kept and returned is not None else None
            message.decide(_DONE if not kept and small is None else Done(result=small, kept=kept))
            return
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
                kept=kept,
            )
            for held in message.held
            if failures is None or held.message.message_id in failures
        }
        # A release of the whole delivery also tells the hub to pause, so it must be seen as such.
        away = next((one for one in decisions.values() if isinstance(one, Release) and one.engine_away), None)
        message.decide(away if away and failures is None else Done(kept=kept), except_for=decisions)
        if all(isinstance(decisions.get(held.message.message_id), Dead) for held in message.held):
            # For the hooks that Dramatiq runs around a dead letter.
            message.fail()


def _is_stock(broker: Broker, actor: Actor[..., Any]) -> bool:
    ours = not {*_OURS, "batch"}.isdisjoint(actor.options)
    return not ours and any(isinstance(middleware, Retries) for middleware in broker.middleware)


def decide(
    message: Message[Any],
    error: BaseException,
    *,
    attempts: int,
    backoff: Backoff,
    kept: timedelta = timedelta(0),
) -> Decision:
    """The decision about one message whose job raised an error; a counted failure is noted in its options."""
    if isinstance(error, Cancel):
        log.info("job.cancelled", job=message.actor_name, id=message.message_id)
        return Done(state="cancelled", kept=kept)
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


def _small(delivery: Delivery, result: object) -> bytes | None:
    """What a job returned, if it is small enough to be kept with its status."""
    if len(delivery.held) > 1:
        return None
    try:
        text = msgspec.json.encode(result)
    except (TypeError, ValueError, msgspec.MsgspecError):
        text = b""
    if 0 < len(text) <= MOST_RESULT_BYTES:
        return text
    log.warning("job.result_dropped", job=delivery.actor_name, id=delivery.message_id, bytes=len(text))
    return None


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
