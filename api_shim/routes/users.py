"""Users: their profile, and tokens that let them in."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any

import falcon
import falcon.asgi
import msgspec
from email_validator import EmailNotValidError, validate_email

from api_shim.asked import checked_id
from api_shim.caller import LONGEST_TOKEN, Caller, utc_now
from api_shim.contract import PREFER, Answer, Moment, accepts, speaks
from api_shim.door import Door, allow, moment
from api_shim.problem import not_found
from backroom.domain.errors import Invalid
from backroom.store import rows
from backroom.words.near import unknown
from jobs.user_put import PutUser

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ZONES = frozenset(zoneinfo.available_timezones())

ContactKind = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z_]{0,31}$")]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]


class UserBody(msgspec.Struct, forbid_unknown_fields=True):
    """A profile.

    Attributes:
        name: What to call the user.
        locale: BCP 47, such as `de-AT`.
        time_zone: IANA name, such as `Europe/Vienna`.
        contacts: Contact points by kind: `email`, `phone` (E.164), and whatever else a channel on the shelf writes to.
        attributes: Whatever the application wants to keep with the user.
        administrator: Whether the user hears about alerts.
    """

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    locale: Annotated[str, msgspec.Meta(max_length=35)] = "en"
    time_zone: Annotated[str, msgspec.Meta(max_length=64)] = "UTC"
    contacts: Annotated[dict[ContactKind, Address], msgspec.Meta(max_length=20)] = {}
    attributes: Annotated[dict[str, Any], msgspec.Meta(max_length=100)] = {}
    administrator: bool = False


class TokenBody(msgspec.Struct, forbid_unknown_fields=True):
    """How long a token lasts.

    Attributes:
        expires_in: In seconds.
    """

    expires_in: Annotated[int, msgspec.Meta(ge=1, le=int(LONGEST_TOKEN.total_seconds()))] = 900


class User(msgspec.Struct):
    """A user's profile.

    Attributes:
        id: The user's id in the application.
        name: What to call the user.
        locale: BCP 47.
        time_zone: IANA name.
        contacts: Contact points by kind.
        attributes: What the application keeps with the user.
        administrator: Whether the user hears about alerts.
        updated_at: When the profile was last put.
    """

    id: str
    name: str
    locale: str
    time_zone: str
    contacts: dict[str, str]
    attributes: dict[str, Any]
    administrator: bool
    updated_at: Moment


class UserToken(msgspec.Struct):
    """A token that lets one user in.

    Attributes:
        token: To be sent as `Authorization: Bearer …`.
        user: Whom it lets in.
        expires_at: Until when.
    """

    token: str
    user: str
    expires_at: Moment


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/users/{user}": OneUser(door), "/v1/users/{user}/tokens": Tokens(door)}


class OneUser:
    """One user's profile."""

    def __init__(self, door: Door) -> None:
        self._door = door
        # Also of channels that are off: their settings may come later, their file has to be there.
        self._kinds = {file.channel.contact for file in door.shelves.channels.values()} - {""}

    @allow("app")
    @speaks(takes=UserBody, asks=[PREFER], gives=accepts())
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str) -> None:
        """Create the user or replace the profile."""
        caller: Caller = req.context.caller
        checked_id(user, field="/user")
        body = await self._door.body(req, UserBody)
        _check(body, kinds=self._kinds)
        await self._door.expect_user(caller, user)
        message = PutUser(app=caller.app, user=user, **msgspec.structs.asdict(body))
        await self._door.hand_on(req, resp, message, location=req.path)

    @allow("app", "user")
    @speaks(gives={200: Answer(about="The profile.", body=User)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str) -> None:
        """The profile."""
        caller: Caller = req.context.caller
        caller.must_be(user)
        checked_id(user, field="/user")
        found = await self._door.ask(caller, lambda read: read.users.one(user))
        if found is None:
            raise not_found()
        resp.data = msgspec.json.encode(_shown(found))


class Tokens:
    """Tokens that let one user in."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(takes=TokenBody, optional=True, gives={201: Answer(about="The token.", body=UserToken)})
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str) -> None:
        """Mint a token for a user of this application, for its browser or its device."""
        caller: Caller = req.context.caller
        checked_id(user, field="/user")
        body = await self._door.body(req, TokenBody, optional=True)
        now, lasts = utc_now(), timedelta(seconds=body.expires_in)
        token = self._door.callers.mint(app=caller.app, user=user, lasts=lasts, now=now)
        resp.status = falcon.HTTP_201
        resp.set_header("Cache-Control", "no-store")
        resp.data = msgspec.json.encode(UserToken(token=token, user=user, expires_at=moment(now + lasts)))


def _check(body: UserBody, *, kinds: Collection[str]) -> None:
    if not _LOCALE.fullmatch(body.locale):
        raise Invalid("/locale", "is not a locale", "a BCP 47 tag such as de-AT")
    if body.time_zone not in _ZONES:
        raise unknown("/time_zone", "time zone", body.time_zone, _ZONES)
    for kind in body.contacts:
        # A misspelt one would be noticed when letters are missing.
        if kind not in kinds:
            raise unknown(f"/contacts/{kind}", "kind of contact", kind, kinds)
    if (email := body.contacts.get("email")) is not None:
        try:
            # Syntax only: no look-up may hold up the door, and test domains are as good as others.
            body.contacts["email"] = validate_email(email, check_deliverability=False, test_environment=True).normalized
        except EmailNotValidError as error:
            raise Invalid("/contacts/email", "is not an email address", "name@example.com") from error
    if (phone := body.contacts.get("phone")) is not None and not _E164.fullmatch(phone):
        raise Invalid("/contacts/phone", "is not a phone number", "E.164, such as +4366012345678")


def _shown(user: rows.User) -> User:
    return User(
        id=user.id,
        name=user.name,
        locale=user.locale,
        time_zone=user.time_zone,
        contacts=user.contacts,
        attributes=user.attributes,
        administrator=user.administrator,
        updated_at=moment(user.updated_at),
    )
