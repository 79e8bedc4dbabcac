"""Puts Dramatiq's messages on the queue: one more run for each enqueue, and never two for one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

import redis
import uuid_utils
from dramatiq.errors import ConnectionClosed

from backroom.queue.dialect import envelope, made_up
from backroom.queue.open import BROKEN, Script
from backroom.queue.wire import encode, milliseconds

if TYPE_CHECKING:
    from dramatiq import Message

    from backroom.queue.delivery import HandOn

MOST_KNOWN = 10_000
_SEEN = 0

Argument = str | bytes | float


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

    def put(self, message: Message[Any], delay: timedelta, *, anew: bool) -> None:
        """Enqueue one message.

        Args:
            message: Which.
            delay: How long it waits before it may run.
            anew: Whether it is to be one more, whatever its id.

        Raises:
            ConnectionClosed: The engine does not answer, or refuses to write.
            Invalid: It cannot be sent.
        """
        id = message.message_id
        with self._lock:
            unsure = self._unsure.pop(id, None)
            again = anew or (id in self._sent and made_up(id))
        stored_as = unsure or (str(uuid_utils.uuid7()) if again else id)
        seen = self._put_as(message, delay, stored_as)
        if seen and unsure is None and made_up(id):
            self._put_as(message, delay, str(uuid_utils.uuid7()))

    def put_all(self, hand_ons: Sequence[HandOn]) -> None:
        """Enqueue what follows from a delivery, in one step; what is there already stays as it is.

        Raises:
            ConnectionClosed: See `put`.
        """
        args: list[Argument] = [1, 0, len(hand_ons)]
        for one in hand_ons:
            args += [one.id, one.queue, one.body, milliseconds(one.delay), "", 0, ""]
        self._call(args)

    def _put_as(self, message: Message[Any], delay: timedelta, stored_as: str) -> bool:
        """Enqueue under this id; say whether it was seen before this call."""
        body = encode(envelope(message, stored_as=stored_as))
        args: list[Argument] = [1, 0, 1, stored_as, message.queue_name, body, milliseconds(delay), "", 0, ""]
        try:
            reply, tries = self._call(args)
        except ConnectionClosed:
            self._remember(self._unsure, message.message_id, stored_as)
            raise
        self._remember(self._sent, message.message_id, stored_as)
        return tries == 1 and int(reply[2]) == _SEEN

    def _remember(self, known: dict[str, str], id: str, stored_as: str) -> None:
        with self._lock:
            known[id] = stored_as
            if len(known) > MOST_KNOWN:
                del known[next(iter(known))]

    def _call(self, args: Sequence[Argument]) -> tuple[list[Any], int]:
        try:
            try:
                return self._script(*args), 1
            except BROKEN:
                # An idle connection may have been closed by the other side; the script is idempotent.
                return self._script(*args), 2
        except (redis.RedisError, OSError) as error:
            raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]  # Dramatiq has no types here
