"""What a route takes and gives, said beside it: the public document is made of this and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from api_shim.asked import LONGEST_WAIT

Responder = TypeVar("Responder", bound=Callable[..., Any])

JSON = "application/json"
# A time, as `moment` says it.
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
_CONTRACT = "__contract__"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """Something that a caller may say beside the body.

    Attributes:
        name: As it stands in the query or the header.
        place: Where it stands.
        about: What it means.
        schema: What it may be (JSON Schema 2020-12).
        required: Whether it has to be said.
    """

    name: str
    place: Literal["query", "header"]
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a caller hears.

    Attributes:
        about: When.
        body: A type that msgspec can describe; None for an answer without a body.
        media: The body's media type.
        headers: What stands in the headers, by their names.
    """

    about: str
    body: Any = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What a method of a route takes and gives.

    Attributes:
        takes: The type of its body; None where it takes none.
        media: The body's media types.
        optional: Whether no body at all is as good as an empty object.
        asks: What may be said beside the body.
        gives: Its answers by their status; problems that many routes share are added to them.
        problems: Problems of its own by their status, and when there is one.
    """

    takes: Any
    media: Sequence[str]
    optional: bool
    asks: Sequence[Parameter]
    gives: Mapping[int, Answer]
    problems: Mapping[int, str]


def speaks(
    *,
    gives: Mapping[int, Answer],
    takes: Any = None,
    media: Sequence[str] = (JSON,),
    optional: bool = False,
    asks: Sequence[Parameter] = (),
    problems: Mapping[int, str] | None = None,
) -> Callable[[Responder], Responder]:
    """Say what a responder takes and gives; see `Contract`. One that does not say is refused when the door is built."""

    def declare(responder: Responder) -> Responder:
        contract = Contract(
            takes=takes, media=media, optional=optional, asks=asks, gives=gives, problems=problems or {}
        )
        setattr(responder, _CONTRACT, contract)
        return responder

    return declare


def contract(resource: object, method: str) -> Contract | None:
    """What a resource's method takes and gives, or None where it does not say."""
    return getattr(getattr(resource, f"on_{method.lower()}", None), _CONTRACT, None)


# What many routes share -----------------------------------------------------------------------------------------------

IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    about="The same key with the same request is the same request: it is done once, and answered as the first time. "
    "With another request it is refused. Yours is remembered for a day (`ONCE_HOURS`).",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)
PREFER = Parameter(
    name="Prefer",
    place="header",
    about=f"`wait=N` (RFC 7240) has the outcome in the answer if it is known within N seconds, "
    f"{int(LONGEST_WAIT.total_seconds())} at most; otherwise 202.",
)
IF_MATCH = Parameter(
    name="If-Match",
    place="header",
    about='Only where it has one of these versions, such as `"3"`; `*` where it exists (RFC 9110).',
)
IF_NONE_MATCH = Parameter(
    name="If-None-Match", place="header", about="`*`: only where it does not exist yet (RFC 9110)."
)
IF_CHANGED = Parameter(
    name="If-None-Match", place="header", about="304 where it still has one of these versions (RFC 9110)."
)
SESSION_TOKEN = Parameter(
    name="Session-Token",
    place="header",
    about="The token that was answered when the session began.",
    required=True,
)


def limit(*, default: int = 25, most: int = 100) -> Parameter:
    """How long a page is."""
    return Parameter(
        name="limit",
        place="query",
        about="How many at most.",
        schema={"type": "integer", "minimum": 1, "maximum": most, "default": default},
    )


AFTER = Parameter(name="after", place="query", about="The `next` of the page before.")


WHERE = {"Location": "Where to read what becomes of it."}
REPLAYED = {"Idempotent-Replayed": "`true` where this is the answer to a request that came before."}
VERSION = {"ETag": "Its version."}


class Accepted(msgspec.Struct):
    """Something that is on the queue, and will be done.

    Attributes:
        id: What it was accepted as.
        state: It is not done yet.
    """

    id: str
    state: Literal["accepted"]


def accepts(*, done: Mapping[int, Answer] | None = None) -> dict[int, Answer]:
    """The answers of a route that puts work on the queue.

    Args:
        done: What a caller hears who waits for the outcome (`Prefer: wait`).
    """
    return {
        202: Answer(about="It is on the queue.", body=Accepted, headers={**WHERE, **REPLAYED}),
        **({200: Answer(about="It is done: the caller waited for it.")} if done is None else done),
    }
