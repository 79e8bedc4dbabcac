"""Records: JSON objects that an application, or one of its users, keeps under keys."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import checked_id, fingerprint, is_uuid, page_limit
from api_shim.caller import Caller
from api_shim.conditions import is_known, tag, write_condition
from api_shim.contract import (
    AFTER,
    IDEMPOTENCY_KEY,
    IF_CHANGED,
    IF_MATCH,
    IF_NONE_MATCH,
    PREFER,
    VERSION,
    Answer,
    Moment,
    Parameter,
    accepts,
    limit,
    speaks,
)
from api_shim.document import checked, read_document
from api_shim.door import GIVEN_UP, Door, allow, moment, new_id
from api_shim.problem import not_found
from backroom.domain.errors import Invalid, StoreAway
from backroom.domain.record import Kept
from backroom.queue.wire import Once
from backroom.store import rows_records
from backroom.store.read import Reader
from jobs.record_write import WriteRecord, told

_COLLECTION = re.compile(r"[a-z][a-z0-9_-]{0,63}")

# What only one caller may see: others' caches keep out, its own asks again.
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


_OWNER = Parameter(
    name="owner",
    place="query",
    about="The user whose records are meant, instead of the application's own; a user token means its own user's.",
    schema={"type": "string", "minLength": 1, "maxLength": 200},
)


class Record(msgspec.Struct):
    """A JSON object under a key.

    Attributes:
        key: Its name in its collection.
        value: The object.
        version: Counted from 1; the entity tag.
        created_at: When it was first put.
        updated_at: When it was last put.
    """

    key: str
    value: dict[str, Any]
    version: int
    created_at: Moment
    updated_at: Moment


class RecordPage(msgspec.Struct):
    """Records, in the order of their keys.

    Attributes:
        records: This page's.
        next: The cursor of the page that follows; null on the last one.
    """

    records: list[Record]
    next: str | None


class Written(msgspec.Struct):
    """A write that is done.

    Attributes:
        version: The record's from now on.
    """

    version: int


class WriteState(msgspec.Struct, omit_defaults=True):
    """What became of a write.

    Attributes:
        id: What it was accepted as.
        state: Where it is; `failed` where it was given up.
        status: What would have been answered to somebody who waited: 200, 201, 204, 404 or 412.
        version: The record's after it.
        reason: Why it failed, if it did.
    """

    id: str
    state: Literal["accepted", "done", "failed"]
    status: int | None
    version: int | None
    reason: str | None = None


_WRITES: dict[str, Any] = {
    "asks": [_OWNER, IDEMPOTENCY_KEY, PREFER, IF_MATCH, IF_NONE_MATCH],
    "problems": {
        400: "The request cannot be read, or a condition cannot.",
        412: "The record is not in the state that was asked for: told to those who wait (`Prefer`).",
    },
}


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {
        "/v1/records/{collection}": Collection(door),
        "/v1/records/{collection}/{key}": OneRecord(door),
        "/v1/operations/{operation}": Operation(door),
    }


class Collection:
    """The records of one owner in a collection."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    @speaks(
        asks=[_OWNER, limit(), AFTER],
        gives={200: Answer(about="The page.", body=RecordPage, headers={"Link": 'The next page, as `rel="next"`.'})},
    )
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, collection: str) -> None:
        """The records in the order of their keys, in pages; `next` is the cursor of the page that follows."""
        caller: Caller = req.context.caller
        _check_collection(collection)
        owner, most, after = _owner(req), page_limit(req), _after(req)
        found = await self._door.ask(
            caller, lambda read: read.records.page(collection, owner=owner, after=after, limit=most + 1)
        )
        page = found[:most]
        cursor = _cursor(page[-1].key) if len(found) > most else None
        resp.set_headers(_PRIVATE)
        if cursor is not None:
            query = {"limit": most, "after": cursor} | ({"owner": owner} if owner and not caller.user else {})
            resp.set_header("Link", f'<{req.path}?{urlencode(query)}>; rel="next"')
        resp.data = msgspec.json.encode(RecordPage(records=[_shown(record) for record in page], next=cursor))


class OneRecord:
    """One record."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    @speaks(
        asks=[_OWNER, IF_CHANGED, IF_MATCH],
        gives={
            200: Answer(about="The record.", body=Record, headers=VERSION),
            304: Answer(about="The caller has it already.", headers=VERSION),
        },
        problems={400: "A condition cannot be read.", 412: "It has another version than `If-Match` names."},
    )
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, collection: str, key: str) -> None:
        """The record, or 304 where the caller has it already."""
        _check_collection(collection)
        owner = _owner(req)
        checked_id(key, field="/key")
        found = await self._door.ask(req.context.caller, lambda read: read.records.one(collection, key, owner=owner))
        if found is None:
            raise not_found()
        resp.set_headers({**_PRIVATE, "ETag": tag(found.version)})
        if is_known(req, found.version):
            resp.status = falcon.HTTP_304
            return
        resp.data = msgspec.json.encode(_shown(found))

    @allow("app", "user")
    @speaks(
        takes=dict[str, Any],
        gives=accepts(
            done={
                200: Answer(about="It is replaced: the caller waited for it.", body=Written, headers=VERSION),
                201: Answer(about="It is created: the caller waited for it.", body=Written, headers=VERSION),
            }
        ),
        **_WRITES,
    )
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, collection: str, key: str) -> None:
        """Create the record or replace its value."""
        value = await read_document(req, dict[str, Any], limit=self._door.settings.body_limit)
        await self._write(req, resp, collection, key, checked(value))

    @allow("app", "user")
    @speaks(gives=accepts(done={204: Answer(about="It is deleted: the caller waited for it.")}), **_WRITES)
    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, collection: str, key: str) -> None:
        """Delete the record."""
        await self._write(req, resp, collection, key, None)

    async def _write(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        collection: str,
        key: str,
        value: dict[str, Any] | None,
    ) -> None:
        caller: Caller = req.context.caller
        _check_collection(collection)
        operation = new_id()
        message = WriteRecord(
            app=caller.app,
            op=operation,
            collection=collection,
            owner=_owner(req),
            key=checked_id(key, field="/key"),
            value=value,
            condition=write_condition(req),
        )
        once = _once(req, message, window=self._door.once)

        async def recall(first: str) -> dict[str, Any] | None:
            try:
                return await self._door.ask(caller, lambda read: _told(read, first, message))
            except StoreAway:
                return None

        operation = await self._door.hand_on(
            req, resp, message, location=req.path, id=operation, once=once, recall=recall
        )
        if resp.status == falcon.HTTP_202:
            resp.set_header("Location", f"/v1/operations/{operation}")


class Operation:
    """What became of a write that nobody waited for."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    @speaks(gives={200: Answer(about="How far it is.", body=WriteState)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, operation: str) -> None:
        """Whether the write is done, and how it ended; for a week."""
        caller: Caller = req.context.caller
        if not is_uuid(operation):
            raise not_found()
        shown = await self._from_memory(caller, operation) or await self._from_queue(caller, operation)
        # Between the two questions it may have gone from the queue to the memory.
        shown = shown or await self._from_memory(caller, operation)
        if shown is None:
            raise not_found()
        resp.set_headers(_PRIVATE)
        resp.data = msgspec.json.encode(shown)

    async def _from_memory(self, caller: Caller, operation: str) -> WriteState | None:
        outcome = await self._door.ask(caller, lambda read: read.records.outcome(operation))
        if outcome is None:
            return None
        return WriteState(id=operation, state="done", status=outcome.status, version=outcome.version or None)

    async def _from_queue(self, caller: Caller, operation: str) -> WriteState | None:
        found = await self._door.queued(operation, WriteRecord)
        if found is None:
            return None
        where, waiting = found
        if waiting.app != caller.app or caller.user not in {"", waiting.owner}:
            return None
        dead = where == "dead"
        return WriteState(
            id=operation,
            state="failed" if dead else "accepted",
            status=None,
            version=None,
            reason=GIVEN_UP if dead else None,
        )


def _once(req: falcon.asgi.Request, message: WriteRecord, *, window: timedelta) -> Once | None:
    caller: Caller = req.context.caller
    key = req.get_header("Idempotency-Key")
    if key is None:
        return None
    checked_id(key, field="/Idempotency-Key", longest=255)
    said = [message.collection, message.owner, message.key, message.value, message.condition]
    # A user's keys are that user's own.
    return Once(
        key=f"{caller.app}:record:{fingerprint([caller.user, key])}", window=window, fingerprint=fingerprint(said)
    )


def _told(read: Reader, operation: str, message: WriteRecord) -> dict[str, Any] | None:
    outcome = read.records.outcome(operation)
    if outcome is None:
        return None
    there = read.records.one(message.collection, message.key, owner=message.owner)
    return told(outcome, Kept(version=there.version, value=there.value) if there else None)


def _owner(req: falcon.asgi.Request) -> str:
    caller: Caller = req.context.caller
    owner = req.get_param("owner")
    if owner is None:
        return caller.user
    checked_id(owner, field="/owner")
    caller.must_be(owner)
    return owner


def _check_collection(collection: str) -> None:
    if not _COLLECTION.fullmatch(collection):
        raise Invalid(
            "/collection", "is not a collection's name", "a small letter, then up to 63 small letters, digits, _ or -"
        )


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def _after(req: falcon.asgi.Request) -> str | None:
    text = req.get_param("after")
    if text is None:
        return None
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        return checked_id(key, field="/after")
    except (ValueError, Invalid) as error:
        raise Invalid("/after", "is not a cursor", "the `next` of the page before") from error


def _shown(record: rows_records.Record) -> Record:
    return Record(
        key=record.key,
        value=record.value,
        version=record.version,
        created_at=moment(record.created_at),
        updated_at=moment(record.updated_at),
    )
