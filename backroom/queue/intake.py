"""Puts Dramatiq's messages on the queue: one more run for each enqueue, and never two for one."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import redis
import uuid_utils
from dramatiq.errors import ConnectionClosed

from backroom.domain.errors import Full
from backroom.queue.dialect import envelope, made_up
from backroom.queue.faults import point
from backroom.queue.open import Script
from backroom.queue.unit import Unit, answers, arguments
from backroom.queue.wire import Argument, encode, milliseconds

if TYPE_CHECKING:
    from dramatiq import Message

MOST_KNOWN = 10_000


class Intake:
    """Enqueues, and tells a repeat of the same enqueue from another run of the same message.

    A message id that Dramatiq has made up may come again: a pipeline, a group or a message of the program is run once
    more, so it is stored under another id. An id of the program's own choice may not: it enqueues nothing then. After
    an error nobody knows whether the message is there, and enqueueing it again is always safe.

    Args:
        client: Its connections.
        prefix: What every key starts with.
    """

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._script = Script(client, "send", prefix=prefix)
        # What messages were to be stored under when their enqueue failed, by their ids.
        self._unsure: dict[str, str] = {}
        # Whose enqueue has succeeded. Only so can a repeat over a broken connection be told from another run.
        self._sent: dict[str, str] = {}
        self._lock = Lock()

    def put(self, message: Message[Any], delay: timedelta, *, line: str, anew: bool, always: bool) -> None:
        """Enqueue one message.

        Args:
            message: Which.
            delay: How long it waits before it may run.
            line: Where in its queue.
            anew: Whether it is to be one more, whatever its id.
            always: Whether it is enqueued however full its queue is.

        Raises:
            ConnectionClosed: The engine does not answer, or refuses to write.
            Full: The queue takes nothing more.
            Invalid: It cannot be sent.
        """
        id = message.message_id
        with self._lock:
            unsure = self._unsure.pop(id, None)
            again = anew or (id in self._sent and made_up(id))
        stored_as = unsure or (str(uuid_utils.uuid7()) if again else id)
        put_as = partial(self._put_as, message, delay, line=line, always=always)
        seen = put_as(stored_as)
        if seen and unsure is None and made_up(id):
            put_as(str(uuid_utils.uuid7()))

    def has_sent(self, id: str) -> bool:
        """Whether a message was enqueued here not too long ago."""
        return id in self._sent

    def _put_as(self, message: Message[Any], delay: timedelta, stored_as: str, *, line: str, always: bool) -> bool:
        """Enqueue under this id; say whether it was seen before this call."""
        body = encode(envelope(message, stored_as=stored_as))
        post: list[Argument] = [stored_as, message.queue_name, line, body, milliseconds(delay), b""]
        one = Unit(args=[0, int(always), 1, *post], posts=1, bytes=len(body))
        point("before_send")
        try:
            reply, tries = self._script.counted(*arguments([one]))
            point("after_send")
        except (redis.RedisError, OSError) as error:
            self._remember(self._unsure, message.message_id, stored_as)
            raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]  # Dramatiq has no types here
        (answer,) = answers(reply, [one])
        if isinstance(answer, Full):
            raise answer
        self._remember(self._sent, message.message_id, stored_as)
        return tries == 1 and not answer.posted[0].fresh

    def _remember(self, known: dict[str, str], id: str, stored_as: str) -> None:
        with self._lock:
            known[id] = stored_as
            if len(known) > MOST_KNOWN:
                del known[next(iter(known))]
