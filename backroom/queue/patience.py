"""Waiting for a result for longer than a socket waits for an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dramatiq.results import ResultMissing, ResultTimeout
from dramatiq.results.backend import DEFAULT_TIMEOUT
from dramatiq.results.backends import RedisBackend

if TYPE_CHECKING:
    from dramatiq import Message
    from dramatiq.results import ResultBackend

# In seconds, where the client sets no limit.
LONGEST_STEP = 5.0


class PatientBackend(RedisBackend):  # type: ignore[misc]  # Dramatiq has no types here
    """Dramatiq's results in Valkey, waited for in steps that the client's socket time-out does not cut short."""

    def get_result(self, message: Message[Any], *, block: bool = False, timeout: int | None = None) -> Any:
        """The result of a message.

        Args:
            message: Whose.
            block: Whether to wait for it.
            timeout: How many milliseconds at most; 10 seconds where it is not given.

        Raises:
            ResultMissing: There is none, and we were not to wait.
            ResultTimeout: There was none in time.
            ResultFailure: The job failed.
        """
        key = self.build_message_key(message)
        deadline = time.monotonic() + (DEFAULT_TIMEOUT if timeout is None else timeout) / 1000
        found = self.client.lindex(key, 0)
        while found is None and block:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ResultTimeout(message)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
            # Moved to where it was, so that a second one who waits for the same result is told, too.
            found = self.client.brpoplpush(key, key, max(0.001, min(left, self._longest_step())))
        if found is None:
            raise ResultMissing(message)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
        return self.unwrap_result(self.encoder.decode(found))

    def _longest_step(self) -> float:
        socket_timeout: float | None = self.client.get_connection_kwargs().get("socket_timeout")
        return socket_timeout / 2 if socket_timeout else LONGEST_STEP


def teach(backend: ResultBackend) -> None:
    """Make a stock backend patient: its clients give up after five seconds by default, whatever they are asked for."""
    if type(backend) is RedisBackend:
        backend.__class__ = PatientBackend
