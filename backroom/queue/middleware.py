"""The middleware that every worker of ours runs with: Dramatiq's own by default, in its order, and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dramatiq.middleware import (
    AgeLimit,
    Callbacks,
    CurrentMessage,
    Middleware,
    Pipelines,
    Retries,
    ShutdownNotifications,
)

from backroom.queue.decide import Decide
from backroom.queue.delivery import Delivery
from backroom.queue.timelimit import SafeTimeLimit

if TYPE_CHECKING:
    from dramatiq import Broker, MessageProxy


class RetriesUndecided(Retries):
    """Dramatiq's retries, for what `Decide` has left to them."""

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Retry, unless somebody has decided."""
        if isinstance(message, Delivery) and message.otherwise is not None:
            return
        super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]  # Dramatiq has no types here


class PipelinesAsked(Pipelines):
    """Dramatiq's pipelines, for messages that have a next one. The others are the many."""

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Send the next one, if there is one."""
        if message.options.get("pipe_target") is not None:
            super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]  # Dramatiq has no types here


def usual() -> list[Middleware]:
    """A new list of them. Hooks after a message run from its end to its beginning, so `Decide` is asked first."""
    return [
        AgeLimit(),
        SafeTimeLimit(),
        ShutdownNotifications(),
        Callbacks(),
        PipelinesAsked(),
        RetriesUndecided(),
        CurrentMessage(),
        Decide(),
    ]
