"""Finds the node that takes writes now: Sentinel says who the primary is, a cluster who has the slot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import redis
import redis.asyncio
from redis.crc import key_slot
from redis.utils import str_if_bytes

from backroom.queue.address import Host

# A few of those that are asked may be silent before the caller's own patience ends.
SILENT = 3


class NotServed(redis.ConnectionError):
    """Nobody, or not this node, serves us now. Nothing was done; asking again finds out who does."""


class Question(ABC):
    """What is asked of a sentinel or a node.

    Attributes:
        commands: The commands; their replies are what `answer` reads.
        confirm: Whether a node that was found has to say itself that it is a primary. A node of a cluster does so with
            every answer; one that Sentinel names may have been told otherwise a moment later.
    """

    commands: Sequence[Sequence[str]]
    confirm: bool

    @abstractmethod
    def answer(self, replies: Sequence[Any], *, asked: Host) -> tuple[Host, Iterable[Host]]:
        """The node that takes writes, and others that may be asked next time.

        Raises:
            NotServed: Who was asked does not know.
        """


class AskSentinel(Question):
    """Who is the primary of a service?"""

    confirm = True

    def __init__(self, service: str) -> None:
        self.commands = [("SENTINEL MASTER", service)]

    def answer(self, replies: Sequence[Any], *, asked: Host) -> tuple[Host, Iterable[Host]]:  # noqa: ARG002 - as asked
        """See `Question`."""
        (state,) = replies
        if not state["is_master"] or state["is_sdown"] or state["is_odown"]:
            raise NotServed("holds the primary for down")
        return Host(state["ip"], int(state["port"])), ()


class AskCluster(Question):
    """Who has the slot that a prefix's keys lie in?"""

    commands = (("CLUSTER INFO",), ("CLUSTER SLOTS",))
    confirm = False

    def __init__(self, key: str) -> None:
        self._slot = key_slot(key.encode())

    def answer(self, replies: Sequence[Any], *, asked: Host) -> tuple[Host, Iterable[Host]]:
        """See `Question`."""
        info, ranges = replies
        # A node that is cut off from the others still takes itself for what it was.
        if info.get("cluster_state") != "ok":
            raise NotServed("is in a cluster that is down")
        others: list[Host] = []
        found = None
        for first, last, *nodes in ranges:
            hosts = [_node(node, asked=asked) for node in nodes]
            others += hosts
            if first <= self._slot <= last:
                found = hosts[0]
        if found is None:
            raise NotServed("knows nobody who has our slot")
        return found, others


class Way:
    """What is known about where the primary is; shared by all connections of a client.

    Attributes:
        current: The node that was found last.
        moved_to: Where a node has just sent us; asked for once.
        question: What is asked.
    """

    def __init__(
        self, question: Question, hosts: Sequence[Host], *, options: Mapping[str, Any], timeout: timedelta
    ) -> None:
        self.question = question
        self.current: Host | None = None
        self.moved_to: Host | None = None
        self._given = tuple(hosts)
        self._hosts = self._given
        seconds = timeout.total_seconds() / (min(len(hosts), SILENT) + 1)
        self._options = {**options, "socket_timeout": seconds, "socket_connect_timeout": seconds, "driver_info": None}

    def is_left(self, host: Host) -> bool:
        """Whether the primary has been seen elsewhere since."""
        return self.current is not None and self.current != host

    def _arrive(self, host: Host) -> Host:
        # Single assignments: threads that find out at the same time do not disturb each other.
        self.current = host
        return host

    def _hear(self, replies: Sequence[Any], asked: Host) -> Host:
        found, others = self.question.answer(replies, asked=asked)
        self._hosts = tuple(dict.fromkeys((asked, *others, *self._given)))
        return self._arrive(found)

    def _nobody(self, reasons: Mapping[Host, Exception]) -> NotServed:
        told = "; ".join(f"{host}: {_reason(error)}" for host, error in reasons.items())
        return NotServed(f"nobody who was asked knows the primary ({told})")


class Route(Way):
    """Finds the primary, for threads."""

    def find(self) -> Host:
        """Where to connect to now.

        Raises:
            NotServed: Nobody knows.
        """
        moved_to, self.moved_to = self.moved_to, None
        if moved_to:
            return self._arrive(moved_to)
        reasons: dict[Host, Exception] = {}
        for host in self._hosts:
            try:
                with redis.Redis(host=host.name, port=host.port, **self._options) as client:
                    return self._hear([client.execute_command(*one) for one in self.question.commands], host)
            except (redis.RedisError, OSError) as error:
                reasons[host] = error
        raise self._nobody(reasons)


class AsyncRoute(Way):
    """Finds the primary, for an event loop."""

    async def find(self) -> Host:
        """Where to connect to now.

        Raises:
            NotServed: Nobody knows.
        """
        moved_to, self.moved_to = self.moved_to, None
        if moved_to:
            return self._arrive(moved_to)
        reasons: dict[Host, Exception] = {}
        for host in self._hosts:
            try:
                async with redis.asyncio.Redis(host=host.name, port=host.port, **self._options) as client:
                    return self._hear([await client.execute_command(*one) for one in self.question.commands], host)  # type: ignore[no-untyped-call]  # redis has no types here
            except (redis.RedisError, OSError) as error:
                reasons[host] = error
        raise self._nobody(reasons)


def _node(node: Sequence[Any], *, asked: Host) -> Host:
    name = str_if_bytes(node[0]) if node[0] else ""
    # Empty: the one that was asked; a question mark: it does not know its own name.
    return Host(asked.name if name in {"", "?"} else name, int(node[1]))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, redis.ResponseError | NotServed) else type(error).__name__
