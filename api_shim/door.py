"""What every route works with, and how a route says who may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload
from urllib.parse import quote

import falcon.asgi
import msgspec
import uuid_utils
from prometheus_client import CollectorRegistry

from api_shim.asked import wanted_wait
from api_shim.body import decode, read_raw
from api_shim.caller import Caller, Callers, utc_now
from api_shim.contract import Accepted
from api_shim.problem import Problem, key_reused
from api_shim.readers import Readers
from api_shim.traced import next_step
from backroom.domain.errors import Full, Invalid, QueueAway, StoreAway
from backroom.domain.job import Message
from backroom.queue.answers import AsyncAnswers
from backroom.queue.hot import AsyncHot
from backroom.queue.life import State
from backroom.queue.notes import AsyncNotes
from backroom.queue.ops import AsyncQueues
from backroom.queue.post import post_for
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

# How long a user may be on the way to the memory before the door forgets that it accepted it.
EXPECTED = timedelta(hours=1)
# What the application hears of a dead letter; why it died, its operator can read.
GIVEN_UP = "it could not be done, and is not tried again unless an operator retries it"
_ALLOWED = "__allowed__"


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
        queues: Where a message is.
        view: Questions to the memory; use `ask`.
        readers: Where blocking questions run.
        callers: Recognises callers.
        words: The notification types.
        shelves: What stands on the shelves.
        metrics: What Prometheus reads.
        closing: Lets go of all of it.
    """

    settings: Settings
    sender: AsyncSender
    hot: AsyncHot
    notes: AsyncNotes
    answers: AsyncAnswers
    queues: AsyncQueues
    view: View
    readers: Readers
    callers: Callers
    words: Words
    shelves: Shelves
    metrics: CollectorRegistry
    closing: AsyncExitStack

    # Reading

    async def ask(self, caller: Caller, question: Callable[[Reader], T]) -> T:
        """Ask the memory something on behalf of a caller.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """
        return await self.readers.read(self._answer, caller, question)

    def _answer(self, caller: Caller, question: Callable[[Reader], T]) -> T:
        with self.view.open(app=caller.app, user=caller.user) as read:
            return question(read)

    async def body(self, req: falcon.asgi.Request, kind: type[T], *, optional: bool = False) -> T:
        """The request's document. Where it is optional, no body at all leaves every field at its default.

        Raises:
            Problem: 413 too large, 400 not JSON.
            Invalid: A field is wrong.
        """
        raw = await read_raw(req, limit=self.settings.body_limit)
        return decode(raw or b"{}" if optional else raw, kind)

    async def queued(self, id: str, kind: type[M]) -> tuple[State, M] | None:
        """A message that was accepted and is not done, and where it is, or None. Among the dead, it has failed.

        Raises:
            QueueAway: Valkey does not answer.
        """
        state, body = await self.queues.find(id)
        if body is None:
            return None
        try:
            return state, msgspec.convert(decode_body(body, id=id).kwargs["message"], kind, strict=False)
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
            known = await self.readers.glance(self._answer, caller, lambda read: read.users.known(users))
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
        """A message ready for the queue, in the trace of the request under way."""
        job = self.shelves.job_for(type(message))
        return post_for(job, message, id=id or new_id(), delay=delay, once=once, answer=answer, trace=next_step())

    async def hand_on(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        message: Message,
        *,
        location: str,
        id: str = "",
        once: Once | None = None,
        recall: Callable[[str], Awaitable[dict[str, Any] | None]] | None = None,
    ) -> str:
        """Put a message on the queue and answer 202, or with its outcome where the caller waits (`Prefer: wait=N`).

        Args:
            req: Its `Prefer` is read.
            resp: To answer with.
            message: What is to be done.
            location: Where to read what becomes of it.
            id: Its id; a new one if empty.
            once: What makes a repetition the same request.
            recall: Finds the outcome of what was sent before: nobody says it a second time.

        Returns:
            The message's id; of the first one where this was sent before (`once`).

        Raises:
            QueueAway: Valkey does not answer; nothing was accepted.
            Problem: 422, where the idempotency key was used for something else.
        """
        wait = wanted_wait(req)
        (posted,) = await self.sender.send([self.post(message, id=id, once=once, answer=bool(wait))])
        if posted.conflict:
            raise key_reused(field="/Idempotency-Key")
        if not posted.fresh:
            resp.set_header("Idempotent-Replayed", "true")
        outcome = await recall(posted.id) if wait and recall and not posted.fresh else None
        if wait and outcome is None:
            outcome = await self.outcome(posted.id, wait=wait)
        # A header is ASCII; an id is whatever the application says.
        resp.set_header("Location", quote(location))
        if outcome is None:
            resp.status = falcon.HTTP_202
            resp.data = msgspec.json.encode(Accepted(id=posted.id, state="accepted"))
        else:
            resp.set_header("Preference-Applied", f"wait={round(wait.total_seconds())}")
            answer_outcome(resp, outcome)
        return posted.id

    async def outcome(self, id: str, *, wait: timedelta) -> dict[str, Any] | None:
        """What became of a message that was accepted, or None where it is not known in time."""
        try:
            told = await self.answers.wait(id, timeout=wait)
        except (Full, QueueAway):
            # It was accepted, and that must be said: who is refused here would ask again.
            return None
        return None if told is None else msgspec.json.decode(told, type=dict[str, Any])


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


def new_id() -> str:
    """A new UUIDv7 as text."""
    return str(uuid_utils.uuid7())


@overload
def moment(value: datetime) -> str: ...
@overload
def moment(value: datetime | None) -> str | None: ...
def moment(value: datetime | None) -> str | None:
    """A time as the door says it: RFC 3339, UTC."""
    return value.astimezone(tz=utc_now().tzinfo).isoformat().replace("+00:00", "Z") if value else None
