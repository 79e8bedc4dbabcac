"""Records: JSON objects that an application, or one of its users, keeps under keys."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import checked_id, fingerprint, is_uuid, page_limit
from api_shim.caller import Caller
from api_shim.conditions import is_known, tag, write_condition
from api_shim.document import checked, read_document
from api_shim.door import GIVEN_UP, Door, allow, moment, new_id
from api_shim.problem import not_found
from backroom.domain.errors import Invalid, StoreAway
from backroom.domain.record import Kept
from backroom.queue.wire import Once
from backroom.store.read import Reader
from backroom.store.rows_records import Record
from jobs.record_write import WriteRecord, told

_COLLECTION = re.compile(r"[a-z][a-z0-9_-]{0,63}")

# What only one caller may see: others' caches keep out, its own asks again.
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


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
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, collection: str) -> None:
        """The records in the order of their keys, in pages; `next` is the cursor of the page that follows."""
        caller: Caller = req.context.caller
        _check_collection(collection)
        owner, limit, after = _owner(req), page_limit(req), _after(req)
        found = await self._door.ask(
            caller, lambda read: read.records.page(collection, owner=owner, after=after, limit=limit + 1)
        )
        page = found[:limit]
        cursor = _cursor(page[-1].key) if len(found) > limit else None
        resp.set_headers(_PRIVATE)
        if cursor is not None:
            query = {"limit": limit, "after": cursor} | ({"owner": owner} if owner and not caller.user else {})
            resp.set_header("Link", f'<{req.path}?{urlencode(query)}>; rel="next"')
        resp.data = msgspec.json.encode({"records": [_shown(record) for record in page], "next": cursor})


class OneRecord:
    """One record."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
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
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, collection: str, key: str) -> None:
        """Create the record or replace its value."""
        value = await read_document(req, dict[str, Any], limit=self._door.settings.body_limit)
        await self._write(req, resp, collection, key, checked(value))

    @allow("app", "user")
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

    async def _from_memory(self, caller: Caller, operation: str) -> dict[str, Any] | None:
        outcome = await self._door.ask(caller, lambda read: read.records.outcome(operation))
        if outcome is None:
            return None
        return {"id": operation, "state": "done", "status": outcome.status, "version": outcome.version or None}

    async def _from_queue(self, caller: Caller, operation: str) -> dict[str, Any] | None:
        found = await self._door.queued(operation, WriteRecord)
        if found is None:
            return None
        where, waiting = found
        if waiting.app != caller.app or caller.user not in {"", waiting.owner}:
            return None
        shown = {"id": operation, "state": "accepted", "status": None, "version": None}
        return shown | {"state": "failed", "reason": GIVEN_UP} if where == "dead" else shown


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


def _shown(record: Record) -> dict[str, Any]:
    return {
        "key": record.key,
        "value": record.value,
        "version": record.version,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }
