"""The trace that a job belongs to, in all that is logged about it and all that it hands on."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import dramatiq
from dramatiq.middleware import CurrentMessage

from backroom.domain.trace import begin, parse
from backroom.queue.delivery import Delivery

# Where the trace stands in a `traceparent`.
ID = slice(3, 35)


def traceparent(messages: Sequence[dramatiq.Message[Any]]) -> str:
    """What messages that are done together belong to: their trace where it is the same, or a new one.

    A single message that belongs to none begins one, and keeps it over its attempts.
    """
    first: str = messages[0].options.get("trace", "")
    if len(messages) == 1:
        return first or messages[0].options.setdefault("trace", str(begin()))
    if first and all(one.options.get("trace", "")[ID] == first[ID] for one in messages):
        return first
    return str(begin())


def name_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the trace of the message under way in an event that does not name one, as structlog's processors do it.

    Looked up when something is logged: most jobs log nothing, and none should pay for it.
    """
    if "trace" in event:
        return event
    message = CurrentMessage.get_current_message()
    # A batch may come from many; each part of it names its own.
    if isinstance(message, Delivery) and len(message.held) == 1:
        found = parse(traceparent([message.held[0].message]))
        if found is not None:
            event["trace"] = found.id
    return event
