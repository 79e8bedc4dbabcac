"""Who is calling: an application by its key, or one of its users by a short-lived token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import falcon.asgi
import jwt

from api_shim.problem import forbidden, not_found, unauthorized
from api_shim.readers import Readers
from backroom.domain.errors import StoreAway
from backroom.domain.keys import Key, keyed_hash, parse
from backroom.store.view import View

Kind = Literal["app", "user", "track"]

# How long a key that was found is trusted without asking again; a revoked key works no longer than this.
FRESH = 1.0
# How long it is trusted while PostgreSQL is away: accepting must go on without it.
STALE = 600.0
REMEMBERED = 10_000
LONGEST_TOKEN = timedelta(minutes=15)
_AUDIENCE = "backroom:user"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling.

    Attributes:
        app: The application.
        user: One of its users, or an empty string for the application itself.
        kind: `app` with a secret key, `track` with a write key, `user` with a token.
    """

    app: str
    user: str
    kind: Kind

    def must_be(self, user: str) -> None:
        """A user may look at itself only; anybody else is not there.

        Raises:
            Problem: 404.
        """
        if self.user and self.user != user:
            raise not_found()


class Callers:
    """Recognises callers.

    Args:
        view: Finds keys.
        readers: Where questions to PostgreSQL run, off the event loop.
        secret: The house's own secret: keys the hashes, signs the tokens.
    """

    def __init__(self, view: View, readers: Readers, *, secret: bytes) -> None:
        self._view = view
        self._readers = readers
        self._secret = secret
        # Apart from the secret that keys the hashes, so that neither can stand in for the other.
        self._token_key = hmac.new(secret, b"user tokens", hashlib.sha256).digest()
        # By hash: when it was found, when it was last asked for, and whose it is.
        self._known: OrderedDict[bytes, tuple[float, float, Caller | None]] = OrderedDict()

    async def recognise(self, req: falcon.asgi.Request, *, write_key: str = "") -> Caller:
        """The caller of a request.

        Args:
            req: Its `Authorization` is read: `Bearer` with a key or token, or `Basic` with a key as the user name.
            write_key: A key found elsewhere, for callers that can set no header.

        Raises:
            Problem: 401, without a hint.
            StoreAway: The key is not known yet, and PostgreSQL does not answer.
        """
        text = _credential(req) or write_key
        key = parse(text)
        if key is not None:
            return await self._by_key(key)
        if text.count(".") == 2:  # noqa: PLR2004 - a token in compact form has three parts
            return self._by_token(text)
        raise unauthorized()

    def mint(self, *, app: str, user: str, lasts: timedelta, now: datetime) -> str:
        """A token that lets one user in for a while."""
        claims = {"iss": "backroom", "aud": _AUDIENCE, "app": app, "sub": user, "iat": now, "exp": now + lasts}
        return jwt.encode(claims, self._token_key, algorithm="HS256")

    async def _by_key(self, key: Key) -> Caller:
        digest = keyed_hash(key, self._secret)
        now = time.monotonic()
        found, asked, caller = self._known.get(digest, (0.0, 0.0, None))
        if caller is None or now - asked > FRESH:
            if caller is not None and now - found <= STALE:
                # One request asks, the others go on: while PostgreSQL hangs, every question costs its whole time-out.
                self._known[digest] = (found, now, caller)
            try:
                caller = await self._readers.glance(self._find, key.id, digest)
            except StoreAway:
                if caller is None or now - found > STALE:
                    raise
                # Not again for a moment.
                self._known[digest] = (found, time.monotonic(), caller)
            else:
                self._remember(digest, caller)
        if caller is None:
            raise unauthorized()
        return caller

    def _find(self, key_id: str, digest: bytes) -> Caller | None:
        row = self._view.key(key_id)
        if row is None or not hmac.compare_digest(row[2], digest):
            return None
        return Caller(app=row[0], user="", kind="app" if row[1] == "secret" else "track")

    def _remember(self, digest: bytes, caller: Caller | None) -> None:
        # Keys that were refused are forgotten at once: guesses must not push out the keys in use.
        if caller is None:
            self._known.pop(digest, None)
            return
        now = time.monotonic()
        self._known[digest] = (now, now, caller)
        self._known.move_to_end(digest)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _by_token(self, text: str) -> Caller:
        try:
            claims = jwt.decode(
                text,
                self._token_key,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                issuer="backroom",
                leeway=5,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.InvalidTokenError as error:
            raise unauthorized() from error
        app, user = claims.get("app"), claims["sub"]
        if not isinstance(app, str) or not isinstance(user, str) or not user:
            raise unauthorized()
        return Caller(app=app, user=user, kind="user")


def check_allowed(caller: Caller, allowed: frozenset[str]) -> None:
    """Let a caller through who may use a route.

    Raises:
        Problem: 403.
    """
    if caller.kind not in allowed:
        needed = {"app": "an application's secret key", "user": "a user token", "track": "a write key"}
        raise forbidden("it takes " + " or ".join(needed[kind] for kind in sorted(allowed)))


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _credential(req: falcon.asgi.Request) -> str:
    scheme, _, value = (req.get_header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except ValueError:
            # No Base64, or no text.
            return ""
    return ""
