"""Sessions: a visitor's state, read back at once from its hot copy and remembered behind it."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any
from weakref import WeakValueDictionary

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import checked_id
from api_shim.caller import Caller, utc_now
from api_shim.conditions import is_known, tag, write_condition
from api_shim.contract import IF_CHANGED, IF_MATCH, IF_NONE_MATCH, SESSION_TOKEN, VERSION, Answer, Moment, speaks
from api_shim.document import checked, read_document
from api_shim.door import Door, allow, moment
from api_shim.hot_sessions import HotSessions
from api_shim.problem import Problem, not_found
from backroom.domain import session as sessions
from backroom.domain.errors import Invalid
from backroom.domain.merge_patch import merge
from backroom.domain.record import Condition
from backroom.domain.session import (
    LONGEST_IDLE,
    LONGEST_LIFETIME,
    PRESETS,
    SHORTEST,
    Preset,
    begin,
    mint_token,
    token_hash,
)

MERGE_PATCH = "application/merge-patch+json"
TOKEN = "Session-Token"  # noqa: S105 - the header's name

# How often a change is tried again because another one came first.
MOST_TRIES = 20
# How long a change waits for those that came before it at this door.
LONGEST_TURN = timedelta(seconds=10)

_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": f"Authorization, {TOKEN}"}

Idle = Annotated[int, msgspec.Meta(ge=int(SHORTEST.total_seconds()), le=int(LONGEST_IDLE.total_seconds()))]
Lifetime = Annotated[int, msgspec.Meta(ge=int(SHORTEST.total_seconds()), le=int(LONGEST_LIFETIME.total_seconds()))]


class SessionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A session to begin.

    Attributes:
        user: Whose it is, once that is known.
        state: What it starts with.
        preset: How long it lasts: `strict` 15 minutes idle and 8 hours at most, `default` 30 minutes and 12 hours,
            `remember` 30 days and 90 days.
        idle_seconds: How long it may be left alone, instead of the preset's.
        lifetime_seconds: How long it lasts at most, instead of the preset's.
    """

    user: str = ""
    state: dict[str, Any] = {}
    preset: Preset = "default"
    idle_seconds: Idle | None = None
    lifetime_seconds: Lifetime | None = None


class Session(msgspec.Struct):
    """What is known of a visitor.

    Attributes:
        user: Whose it is, once that is known.
        state: What the application keeps in it.
        version: Counted from 1; the entity tag.
        idle_seconds: How long it may be left alone.
        created_at: When it began.
        seen_at: When it was last used.
        lapses_at: When it is over if it is left alone.
        expires_at: When it is over in any case.
    """

    user: str | None
    state: dict[str, Any]
    version: int
    idle_seconds: int
    created_at: Moment
    seen_at: Moment
    lapses_at: Moment
    expires_at: Moment


class NewSession(Session):
    """A session that has just begun.

    Attributes:
        token: The only time that it is told: keep it in a cookie that scripts cannot read.
    """

    token: str


_SESSION = Answer(about="The session.", body=Session, headers=VERSION)
_STATE_WRITES: dict[str, Any] = {
    "asks": [SESSION_TOKEN, IF_MATCH, IF_NONE_MATCH],
    "problems": {
        400: "The request cannot be read, or a condition or the session's token is missing or cannot.",
        404: "There is no such session, or it is over.",
        409: "Too many change this session at once.",
        412: "The session has another version; `current` is the one that it has.",
    },
}


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    hot = HotSessions(door)
    return {"/v1/sessions": Sessions(door, hot), "/v1/sessions/current": CurrentSession(door, hot)}


class Sessions:
    """All sessions of an application."""

    def __init__(self, door: Door, hot: HotSessions) -> None:
        self._door = door
        self._hot = hot

    @allow("app")
    @speaks(
        takes=SessionBody,
        optional=True,
        gives={201: Answer(about="It has begun.", body=NewSession, headers={**VERSION, "Location": "The session."})},
    )
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Begin a session; its token is in the answer, and nowhere else ever after."""
        caller: Caller = req.context.caller
        body = await read_document(req, SessionBody, limit=self._door.settings.body_limit, optional=True)
        if body.user:
            checked_id(body.user, field="/user")
        idle, lifetime = _lasts(body)
        session = begin(
            user=body.user, state=checked(body.state, field="/state"), idle=idle, lifetime=lifetime, now=utc_now()
        )
        token = mint_token(secrets.token_bytes)
        await self._hot.put(caller, token_hash(token) or "", session, expected=None)
        resp.status = falcon.HTTP_201
        resp.set_headers(
            {"Cache-Control": "no-store", "ETag": tag(session.version), "Location": "/v1/sessions/current"}
        )
        shown = NewSession(token=token, **msgspec.structs.asdict(_shown(session)))
        resp.data = msgspec.json.encode(shown)


class CurrentSession:
    """The session whose token is in the header `Session-Token`: in a path it would end up in logs and histories."""

    def __init__(self, door: Door, hot: HotSessions) -> None:
        self._door = door
        self._hot = hot
        # Changes of one session take turns here, so that they race only with those at other doors.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @allow("app")
    @speaks(
        asks=[SESSION_TOKEN, IF_CHANGED, IF_MATCH],
        gives={200: _SESSION, 304: Answer(about="The caller has this version already.", headers=VERSION)},
        problems=_STATE_WRITES["problems"],
    )
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The session, or 304 where the caller has this version already; either way its idle time begins anew."""
        caller, hash = req.context.caller, _hash(req)
        revision, session = await self._hot.get(caller, hash)
        if session.is_due_for_touch(now := utc_now()):
            # Whoever came first has touched it, or changed it, which does the same.
            await self._hot.put(caller, hash, session.touched(now), expected=revision)
        resp.set_headers({**_PRIVATE, "ETag": tag(session.version)})
        if is_known(req, session.version):
            resp.status = falcon.HTTP_304
            return
        resp.data = msgspec.json.encode(_shown(session))

    @allow("app")
    @speaks(takes=dict[str, Any], gives={200: _SESSION}, **_STATE_WRITES)
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Replace the state."""
        state = checked(await read_document(req, dict[str, Any], limit=self._door.settings.body_limit))
        await self._change(req, resp, lambda _state: state)

    @allow("app")
    @speaks(
        takes=dict[str, Any],
        media=[MERGE_PATCH],
        gives={200: _SESSION},
        asks=_STATE_WRITES["asks"],
        problems={**_STATE_WRITES["problems"], 415: f"It is not {MERGE_PATCH}."},
    )
    async def on_patch(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Change the state as a merge patch says (RFC 7396)."""
        if (req.content_type or "").partition(";")[0].strip().lower() != MERGE_PATCH:
            raise Problem(
                415,
                "unsupported-media-type",
                "This kind of patch is not taken",
                detail=f"Send {MERGE_PATCH}.",
                headers={"Accept-Patch": MERGE_PATCH},
            )
        patch = await read_document(req, dict[str, Any], limit=self._door.settings.body_limit)
        await self._change(req, resp, lambda state: checked(merge(state, patch)))

    @allow("app")
    @speaks(gives={204: Answer(about="It is over.")}, **_STATE_WRITES)
    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """End the session. It never comes back."""
        caller, hash, condition = req.context.caller, _hash(req), write_condition(req)

        async def end() -> sessions.Session | None:
            revision, session = await self._hot.get(caller, hash)
            _hold(condition, session)
            return session if await self._hot.end(caller, hash, session, expected=revision) else None

        await self._in_turn(hash, end)
        resp.status = falcon.HTTP_204
        resp.set_header("Cache-Control", "no-store")

    async def _change(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        caller, hash, condition = req.context.caller, _hash(req), write_condition(req)

        async def put() -> sessions.Session | None:
            revision, session = await self._hot.get(caller, hash)
            _hold(condition, session)
            changed = session.with_state(change(session.state), now=utc_now())
            return changed if await self._hot.put(caller, hash, changed, expected=revision) else None

        session = await self._in_turn(hash, put)
        resp.set_headers({**_PRIVATE, "ETag": tag(session.version)})
        resp.data = msgspec.json.encode(_shown(session))

    async def _in_turn(self, hash: str, attempt: Callable[[], Awaitable[sessions.Session | None]]) -> sessions.Session:
        turn = self._turns.setdefault(hash, asyncio.Lock())
        try:
            async with asyncio.timeout(LONGEST_TURN.total_seconds()):
                await turn.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            for number in range(MOST_TRIES):
                session = await attempt()
                if session is not None:
                    return session
                # Another process of the door was quicker: step out of its way, and not in step with a third.
                await asyncio.sleep(random.uniform(0, 0.002 * (number + 1)))  # noqa: S311 - nobody gains by guessing it
        finally:
            turn.release()
        raise _busy()


def _busy() -> Problem:
    return Problem(409, "session-busy", "Too many change this session at once", headers={"Retry-After": "1"})


def _hash(req: falcon.asgi.Request) -> str:
    token = req.get_header(TOKEN)
    if token is None:
        raise Problem(400, "no-session-token", "The header Session-Token is missing")
    hash = token_hash(token.strip())
    if hash is None:
        raise not_found()
    return hash


def _lasts(body: SessionBody) -> tuple[timedelta, timedelta]:
    idle, lifetime = PRESETS[body.preset]
    if body.lifetime_seconds is not None:
        lifetime = timedelta(seconds=body.lifetime_seconds)
        idle = min(idle, lifetime)
    if body.idle_seconds is not None:
        idle = timedelta(seconds=body.idle_seconds)
    if idle > lifetime:
        raise Invalid("/idle_seconds", "is longer than the session lasts", f"at most {round(lifetime.total_seconds())}")
    return idle, lifetime


def _hold(condition: Condition, session: sessions.Session) -> None:
    if not condition.holds(session.version):
        raise Problem(
            412,
            "condition-failed",
            "The session has another version",
            headers={"ETag": tag(session.version)},
            more={"current": _shown(session)},
        )


def _shown(session: sessions.Session) -> Session:
    return Session(
        user=session.user or None,
        state=session.state,
        version=session.version,
        idle_seconds=session.idle_seconds,
        created_at=moment(session.created_at),
        seen_at=moment(session.seen_at),
        lapses_at=moment(session.lapses_at),
        expires_at=moment(session.expires_at),
    )
