"""The trace that a job belongs to, in all that is logged about it and all that it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from backroom.domain.trace import Trace, begin, parse
from backroom.queue.delivery import Delivery


class Traced(Middleware):
    """Names the trace in every event that is logged while a delivery is worked on and decided."""

    def before_process_message(self, _broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """From here on. A single message that belongs to none begins one, and keeps it over its attempts."""
        if not isinstance(message, Delivery):
            return
        found = shared([held.message for held in message.held])
        if found is None and len(message.held) == 1:
            found = begin()
            message.held[0].message.options["trace"] = str(found)
        if found is not None:
            structlog.contextvars.bind_contextvars(trace=found.id)

    def after_process_message(
        self,
        broker: dramatiq.Broker,  # noqa: ARG002 - its signature
        message: dramatiq.MessageProxy,  # noqa: ARG002
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        """To here."""
        structlog.contextvars.unbind_contextvars("trace")

    def after_skip_message(self, _broker: dramatiq.Broker, _message: dramatiq.MessageProxy) -> None:
        """Or to here."""
        structlog.contextvars.unbind_contextvars("trace")


def shared(messages: Sequence[dramatiq.Message[Any]]) -> Trace | None:
    """The trace that all of these messages belong to; None where there is no such one."""
    first = parse(messages[0].options.get("trace"))
    for message in messages[1:]:
        other = parse(message.options.get("trace"))
        if first is None or other is None or other.id != first.id:
            return None
    return first


def trace_of(messages: Sequence[dramatiq.Message[Any]]) -> Trace:
    """The trace of what is done together: that of the messages, or a new one where they come from several."""
    return shared(messages) or begin()
