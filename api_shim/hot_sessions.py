"""Sessions by the hash of their token: from the hot copy, or from the memory where that is gone."""

from __future__ import annotations

import dataclasses

import msgspec

from api_shim.caller import Caller, utc_now
from api_shim.door import Door
from api_shim.problem import not_found
from backroom.domain.session import TOMBSTONE_FOR, Session
from backroom.queue.hot import HotPut
from jobs.session_save import SaveSession

_decoder = msgspec.json.Decoder(Session)


class HotSessions:
    """See the module."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def get(self, caller: Caller, hash: str) -> tuple[int, Session]:
        """A session that is not over, and the revision of its hot copy.

        Raises:
            Problem: 404, whether it is over, another application's, or never was.
            QueueAway, StoreAway: An engine that is needed for the answer does not answer.
        """
        found = await self._door.hot.get(_key(caller, hash))
        if found is None:
            kept = await self._door.ask(caller, lambda read: read.sessions.open(hash))
            if kept is None or kept.session.is_over(now := utc_now()):
                raise not_found()
            # Refused where it was ended, or changed, since it was read; so what counts is read again.
            await self._door.hot.fill(
                _key(caller, hash), version=kept.revision, value=_encoded(kept.session), ttl=kept.session.hot_for(now)
            )
            found = await self._door.hot.get(_key(caller, hash))
        if found is None or found.ended:
            raise not_found()
        session = _decoder.decode(found.value)
        if session.is_over(utc_now()):
            raise not_found()
        return found.version, session

    async def put(self, caller: Caller, hash: str, session: Session, *, expected: int | None) -> bool:
        """Change the hot copy and enqueue its save in one step; whether the copy had the expected revision."""
        now = utc_now()
        save = SaveSession(app=caller.app, token_hash=hash, revision=(expected or 0) + 1, at=now, session=session)
        put = HotPut(key=_key(caller, hash), value=_encoded(session), expected=expected, ttl=session.hot_for(now))
        return await self._door.sender.put_and_send(put, [self._door.post(save)]) is not None

    async def end(self, caller: Caller, hash: str, session: Session, *, expected: int) -> bool:
        """End it for good; whether the copy had the expected revision."""
        save = SaveSession(
            app=caller.app,
            token_hash=hash,
            revision=expected + 1,
            at=utc_now(),
            session=dataclasses.replace(session, state={}),
            ended=True,
        )
        put = HotPut(key=_key(caller, hash), value=b"", expected=expected, ended=True, ttl=TOMBSTONE_FOR)
        return await self._door.sender.put_and_send(put, [self._door.post(save)]) is not None


def _key(caller: Caller, hash: str) -> str:
    return f"session:{caller.app}:{hash}"


def _encoded(session: Session) -> bytes:
    return msgspec.json.encode(session)
