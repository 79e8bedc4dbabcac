"""What every route works with, and how a route says who may use it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import falcon.asgi
import msgspec
import uuid_utils

from api_shim.body import decode, read_raw
from api_shim.caller import Caller, Callers, utc_now
from api_shim.problem import Problem
from backroom.domain.errors import Full, Invalid, QueueAway, StoreAway
from backroom.domain.job import Message
from backroom.queue.answers import AsyncAnswers
from backroom.queue.hot import AsyncHot
from backroom.queue.notes import AsyncNotes
from backroom.queue.ops import Queues
from backroom.queue.sender import AsyncSender
from backroom.queue.wire import Once, Post
from backroom.queue.wire import decode as decode_body
from backroom.settings import Settings
from backroom.shelf import Shelves
from backroom.store.read import Reader
from backroom.store.view import View
from backroom.words import Words

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Responder = TypeVar("Responder", bound=Callable[..., Any])

# A caller may wait this long for the outcome of what it asked, and no longer.
LONGEST_WAIT = timedelta(seconds=10)
# How long a user may be on the way to the memory before the door forgets that it accepted it.
EXPECTED = timedelta(hours=1)
_ALLOWED = "__allowed__"
# Not `isdigit`, which takes what `int` does not, and of any length.
_NUMBER = re.compile(r"[0-9]{1,9}")


def allow(*kinds: str) -> Callable[[Responder], Responder]:
    """Say who may use a responder: `app`, `user`, `track`, or nobody named for everyone.

    A responder that does not say is refused when the door is built.
    """

    def declare(responder: Responder) -> Responder:
        setattr(responder, _ALLOWED, frozenset(kinds))
        return responder

    return declare


def allowed(resource: object, method: str) -> frozenset[str] | None:
    """Who may use a resource's method, or None where it does not say."""
    return getattr(getattr(resource, f"on_{method.lower()}", None), _ALLOWED, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """What a route works with.

    Attributes:
        settings: The process's settings.
        sender: Puts messages on the queue.
        hot: Values that must be read back at once, such as sessions.
        notes: What is on its way to the memory.
        answers: Outcomes that somebody waits for.
        queues: What waits and what died.
        view: Questions to the memory; use `ask`.
        threads: Where blocking questions run.
        callers: Recognises callers.
        words: The notification types.
        shelves: What stands on the shelves.
        closing: Lets go of all of it.
    """

    settings: Settings
    sender: AsyncSender
    hot: AsyncHot
    notes: AsyncNotes
    answers: AsyncAnswers
    queues: Queues
    view: View
    threads: Executor
    callers: Callers
    words: Words
    shelves: Shelves
    closing: AsyncExitStack

    # Reading

    async def ask(self, caller: Caller, question: Callable[[Reader], T]) -> T:
        """Ask the memory something on behalf of a caller.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """

        def run() -> T:
            with self.view.open(app=caller.app, user=caller.user) as read:
                return question(read)

        return await self.in_thread(run)

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Run something that blocks, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *args)

    async def body(self, req: falcon.asgi.Request, kind: type[T]) -> T:
        """The request's document.

        Raises:
            Problem: 413 too large, 400 not JSON.
            Invalid: A field is wrong.
        """
        return decode(await read_raw(req, limit=self.settings.body_limit), kind)

    async def queued(self, id: str, kind: type[M]) -> M | None:
        """A message that was accepted and is not done, or None.

        Raises:
            QueueAway: Valkey does not answer.
        """
        _, body = await self.in_thread(self.queues.find, id)
        if body is None:
            return None
        try:
            return msgspec.convert(decode_body(body, id=id).kwargs["message"], kind, strict=False)
        except (Invalid, KeyError, msgspec.ValidationError):
            return None

    async def expect_user(self, caller: Caller, user: str) -> None:
        """Remember that a user was accepted and will be in the memory soon."""
        await self.notes.leave(f"user:{caller.app}:{user}", ttl=EXPECTED)

    async def unknown_users(self, caller: Caller, users: Sequence[str]) -> list[str]:
        """Those of these users that the application never told us about.

        While PostgreSQL is away nobody is unknown: accepting must go on, and the worker will see.
        """
        try:
            known = await self.ask(caller, lambda read: read.users.known(users))
        except StoreAway:
            return []
        notes = {f"user:{caller.app}:{user}": user for user in users if user not in known}
        return [notes[key] for key in await self.notes.missing(list(notes))]

    # Handing on

    @property
    def once(self) -> timedelta:
        """How long an idempotency key is remembered."""
        return timedelta(hours=self.settings.once_hours)

    def post(
        self,
        message: Message,
        *,
        id: str = "",
        once: Once | None = None,
        answer: bool = False,
        delay: timedelta = timedelta(0),
    ) -> Post:
        """A message ready for the queue."""
        job = self.shelves.job_for(type(message))
        return Post(
            job=job.name, queue=job.queue, message=message, id=id or new_id(), delay=delay, once=once, answer=answer
        )

    async def hand_on(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        message: Message,
        *,
        location: str,
        id: str = "",
        once: Once | None = None,
    ) -> str:
        """Put a message on the queue and answer 202, or with its outcome where the caller waits (`Prefer: wait=N`).

        Returns:
            The message's id; of the first one where this was sent before (`once`).

        Raises:
            QueueAway: Valkey does not answer; nothing was accepted.
            Problem: 422, where the idempotency key was used for something else.
        """
        wait = wanted_wait(req)
        (posted,) = await self.sender.send([self.post(message, id=id, once=once, answer=bool(wait))])
        if posted.conflict:
            raise Problem(422, "idempotency-key-reused", "This idempotency key was used with another request")
        if not posted.fresh:
            resp.set_header("Idempotent-Replayed", "true")
        outcome = await self.outcome(posted.id, wait=wait) if wait else None
        # A header is ASCII; an id is whatever the application says.
        resp.set_header("Location", quote(location))
        if outcome is None:
            resp.status = falcon.HTTP_202
            resp.data = msgspec.json.encode({"id": posted.id, "state": "accepted"})
        else:
            resp.set_header("Preference-Applied", f"wait={round(wait.total_seconds())}")
            answer_outcome(resp, msgspec.json.decode(outcome))
        return posted.id

    async def outcome(self, id: str, *, wait: timedelta) -> bytes | None:
        """What became of a message that was accepted, or None where it is not known in time."""
        try:
            return await self.answers.wait(id, timeout=wait)
        except (Full, QueueAway):
            # It was accepted, and that must be said: who is refused here would ask again.
            return None


def answer_outcome(resp: falcon.asgi.Response, outcome: dict[str, Any]) -> None:
    """Answer with what a job said: `status`, and perhaps `etag`, `body`, `problem`."""
    status = int(outcome["status"])
    if status >= 400:  # noqa: PLR2004 - the first of HTTP's error codes
        told = outcome.get("problem", {})
        raise Problem(
            status,
            told.get("slug", "refused"),
            told.get("title", "It was refused"),
            more=outcome.get("body"),
            headers={"ETag": outcome["etag"]} if outcome.get("etag") else None,
        )
    resp.status = falcon.code_to_http_status(status)
    if outcome.get("etag"):
        resp.set_header("ETag", outcome["etag"])
    if "body" in outcome:
        resp.data = msgspec.json.encode(outcome["body"])


def wanted_wait(req: falcon.asgi.Request) -> timedelta:
    """How long the caller would wait for the outcome (RFC 7240 `Prefer: wait=N`), zero if it did not say."""
    for part in (req.get_header("Prefer") or "").split(","):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "wait" and _NUMBER.fullmatch(value.strip()):
            return min(timedelta(seconds=int(value)), LONGEST_WAIT)
    return timedelta(0)


def new_id() -> str:
    """A new UUIDv7 as text."""
    return str(uuid_utils.uuid7())


def checked_id(value: str, *, field: str, longest: int = 200) -> str:
    """An id that an application made up: printable and not too long.

    Raises:
        Invalid: It is not.
    """
    if not value or len(value) > longest or not value.isprintable():
        raise Invalid(field, "is not an id", f"1 to {longest} printable characters")
    return value


def is_uuid(value: str) -> bool:
    """Whether a text is an id that we made."""
    try:
        return str(uuid_utils.UUID(value)) == value.lower()
    except ValueError:
        return False


def fingerprint(value: object) -> str:
    """What a request said, in a few characters: the same for the same document."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:32]


def page_limit(req: falcon.asgi.Request, *, default: int = 25, most: int = 100) -> int:
    """How many entries of a list the caller wants (`limit`).

    Raises:
        Invalid: It is not a number between 1 and the most.
    """
    text = req.get_param("limit")
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise Invalid("/limit", "is not a page's length", f"1 to {most}")
    return int(text)


def page_after(req: falcon.asgi.Request) -> str | None:
    """Where a list of ids goes on (`after`, the last id of the page before).

    Raises:
        Invalid: It is not one of our ids.
    """
    text = req.get_param("after")
    if text is not None and not is_uuid(text):
        raise Invalid("/after", "is not a cursor", "the `next` of the page before")
    return text


def moment(value: datetime | None) -> str | None:
    """A time as the door says it: RFC 3339, UTC."""
    return value.astimezone(tz=utc_now().tzinfo).isoformat().replace("+00:00", "Z") if value else None
