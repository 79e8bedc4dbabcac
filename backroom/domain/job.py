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
from backroom.domain.limits import Limit, Priority, Unique

Function = TypeVar("Function", bound=Callable[..., Any])

DECLARATION = "__job__"
MOST_LIMITS = 4
KEPT = timedelta(hours=1)


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
        priority: Urgent messages of a queue are taken before normal ones, and those before bulk; each lower class that
            waits gets one of ten. Within a class, applications take turns.
        limits: What its messages count for, four at most.
        unique: When a message is not enqueued because another one stands for it; None for never.
        expires: How long after it was sent it may still begin; None for ever.
        kept: How long its status can be asked for after its end; zero for jobs that come in floods.
        isolated: Whether it runs in a process of its own: for what computes long, or may crash or hang in a library.
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
    priority: Priority
    limits: tuple[Limit, ...]
    unique: Unique | None
    expires: timedelta | None
    kept: timedelta
    isolated: bool
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
    priority: Priority = "normal",
    limits: tuple[Limit, ...] = (),
    unique: Unique | None = None,
    expires: timedelta | None = None,
    kept: timedelta = KEPT,
    isolated: bool = False,
    every: str | timedelta | None = None,
) -> Callable[[Function], Function]:
    """Declare a job. The message type is read from the function's first annotation; see `Job` for the arguments.

    Raises:
        TypeError: The function's first parameter is not annotated with a message type, or a batch job's not with
            a sequence of one; or its limits or uniqueness name a field that the message does not have; or it is a batch
            job and isolated.
    """
    if isolated and batch:
        raise TypeError(f"{name}: a batch job runs beside the others; only one that takes single messages is isolated")

    def declare(function: Function) -> Function:
        message = _message_type(function, batch=bool(batch))
        _check_fields(name, message, limits, unique)
        declaration = Job(
            name=name,
            message=message,
            function=function,
            queue=name if batch or ordered else queue,
            attempts=attempts,
            backoff=backoff or Backoff(),
            time_limit=time_limit,
            batch=batch,
            linger=linger,
            ordered=ordered,
            priority=priority,
            limits=limits,
            unique=unique,
            expires=expires,
            kept=kept,
            isolated=isolated,
            every=every,
            about=(inspect.getdoc(function) or "").partition("\n")[0],
        )
        setattr(function, DECLARATION, declaration)
        return function

    return declare


def _check_fields(name: str, message: type[Message], limits: Sequence[Limit], unique: Unique | None) -> None:
    fields = {field.name for field in msgspec.structs.fields(message)}
    named = {field for limit in limits for field in limit.by} | set((unique.by if unique else None) or ())
    if not named <= fields:
        raise TypeError(f"{name}: {message.__name__} has no field {', '.join(sorted(named - fields))}")
    if len(limits) > MOST_LIMITS:
        raise TypeError(f"{name}: {len(limits)} limits; {MOST_LIMITS} at most")


def _message_type(function: Callable[..., Any], *, batch: bool) -> type[Message]:
    first = next(iter(inspect.signature(function).parameters), "")
    hint = typing.get_type_hints(function).get(first)
    if batch and typing.get_origin(hint) is Sequence:
        (hint,) = typing.get_args(hint)
    if not (inspect.isclass(hint) and issubclass(hint, Message)):
        wanted = "Sequence[<a Message>]" if batch else "a Message"
        raise TypeError(f"{function.__qualname__}: annotate the first parameter with {wanted}")
    return hint
