"""What a job is: a typed message and a function, declared together and bound to the queue by the engine room.

```python
class GreetUser(AppMessage):
    user: str

@job("user.greet", queue="quiet")
def greet_user(message: GreetUser, tools: Tools) -> None:
    \"\"\"Say hello to a new user.\"\"\"
```
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from backroom.domain.backoff import Backoff

Function = TypeVar("Function", bound=Callable[..., Any])

DECLARATION = "__job__"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked of a job. Fields are small plain values; ids rather than objects."""


class AppMessage(Message, frozen=True, kw_only=True):
    """A message on behalf of one application: its job reads and writes that application's rows only.

    Attributes:
        app: The application's id (UUID as text).
    """

    app: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One entry of the jobs shelf.

    Attributes:
        name: `noun.verb`; part of the wire, so it never changes once sent.
        message: The type that the job's messages are validated against.
        function: What does the work: `(message, tools)`, or `(messages, tools)` for a batch job.
        queue: The queue it waits in; a batch or ordered job always has a queue of its own.
        attempts: How often it is tried before it goes to the dead letters.
        backoff: How long to wait between two tries.
        time_limit: When a running job is cut.
        batch: How many messages the function gets at once at most; 0 for a job that takes one.
        linger: How long a batch may wait for more messages once it has its first.
        ordered: Whether its messages run strictly one batch after another, in the order they were accepted.
        every: When the clock asks for it: a crontab line (UTC), an interval, or None for never.
        about: Its one-line meaning.
    """

    name: str
    message: type[Message]
    function: Callable[..., Any]
    queue: str
    attempts: int
    backoff: Backoff
    time_limit: timedelta
    batch: int
    linger: timedelta
    ordered: bool
    every: str | timedelta | None
    about: str


def job(
    name: str,
    *,
    queue: str = "default",
    attempts: int = 12,
    backoff: Backoff | None = None,
    time_limit: timedelta = timedelta(minutes=1),
    batch: int = 0,
    linger: timedelta = timedelta(0),
    ordered: bool = False,
    every: str | timedelta | None = None,
) -> Callable[[Function], Function]:
    """Declare a job. The message type is read from the function's first annotation; see `Job` for the arguments.

    Raises:
        TypeError: The function's first parameter is not annotated with a message type, or a batch job's not with
            a sequence of one.
    """

    def declare(function: Function) -> Function:
        declaration = Job(
            name=name,
            message=_message_type(function, batch=bool(batch)),
            function=function,
            queue=name if batch or ordered else queue,
            attempts=attempts,
            backoff=backoff or Backoff(),
            time_limit=time_limit,
            batch=batch,
            linger=linger,
            ordered=ordered,
            every=every,
            about=(inspect.getdoc(function) or "").partition("\n")[0],
        )
        setattr(function, DECLARATION, declaration)
        return function

    return declare


def _message_type(function: Callable[..., Any], *, batch: bool) -> type[Message]:
    first = next(iter(inspect.signature(function).parameters), "")
    hint = typing.get_type_hints(function).get(first)
    if batch and typing.get_origin(hint) is Sequence:
        (hint,) = typing.get_args(hint)
    if not (inspect.isclass(hint) and issubclass(hint, Message)):
        wanted = "Sequence[<a Message>]" if batch else "a Message"
        raise TypeError(f"{function.__qualname__}: annotate the first parameter with {wanted}")
    return hint
