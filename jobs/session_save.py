"""Save sessions: of many changes of one session, only the last reaches the memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from backroom.domain.job import AppMessage, job
from backroom.domain.session import Save, Session, newest
from backroom.tools import Tools

log = structlog.get_logger()


class SaveSession(AppMessage, frozen=True, kw_only=True):
    """A session as it was when the message was accepted.

    Attributes:
        token_hash: Which one; its token is nowhere but with its owner.
        revision: Of its hot copy.
        at: When it was accepted.
        session: The session.
        ended: Whether it is over for good.
    """

    token_hash: str
    revision: int
    at: datetime
    session: Session
    ended: bool = False


@job("session.save", batch=500, linger=timedelta(milliseconds=250))
def save_sessions(messages: Sequence[SaveSession], tools: Tools) -> None:
    """Remember sessions as they are now, and their ends for good."""
    saves = newest(
        (
            Save(
                token_hash=message.token_hash,
                revision=message.revision,
                session=message.session,
                at=message.at,
                ended=message.ended,
            )
            for message in messages
        ),
        now=tools.now(),
    )
    changed = tools.write.sessions.save(saves)
    log.debug("session.saved", messages=len(messages), sessions=len(saves), changed=changed)
