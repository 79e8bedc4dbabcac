"""Asks the front door as an application does: with its key, patient where the door asks for patience."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from backroom.domain.errors import BackroomError

CONNECTIONS = 20
REQUEST_WITHIN = 30.0
# An outage is waited for; a door that stays shut for longer ends the demo.
SHUT_FOR = timedelta(minutes=2)
FIRST_PAUSE, LONGEST_OWN_PAUSE, LONGEST_PAUSE = 0.1, 2.0, 30.0
SLOW_DOWN = frozenset({429, 503})
GOOD = range(200, 300)


class TurnedAway(BackroomError):
    """The door does not take a request, and will not take it again.

    Args:
        status: The status of its answer.
        why: The title of its problem, and the field where one is wrong.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status}: {why}")
        self.status = status
        self.why = why


class Shut(BackroomError):
    """The door does not answer, or says for too long that it cannot."""


class Unanswered(BackroomError):
    """A request has had no answer; whether it was heard is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the door answered; the headers' names are in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def document(self) -> Any:
        """What it holds."""
        return msgspec.json.decode(self.content)


Send = Callable[[str, str, bytes | None, Mapping[str, str]], Answer]


class Wire:
    """Connections to one address, one for each thread that sends.

    The standard library's plain ones: a shop that plays on the machine of its house must leave the house its processor.

    Args:
        url: The address.
        key: Goes with every request.
    """

    def __init__(self, url: str, *, key: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._always = {"Authorization": f"Bearer {key}"}
        self._own = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send a request once; twice where the connection had been closed between two requests.

        Raises:
            Unanswered: There is no answer.
        """
        connection = self._connection()
        for used in (connection.sock is not None, False):
            try:
                connection.request(method, path, body=content, headers={**self._always, **headers})
                answer = connection.getresponse()
                told = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(status=answer.status, headers=told, content=answer.read())
            except (OSError, http.client.HTTPException) as error:
                # The next request opens it again.
                connection.close()
                if not (used and isinstance(error, ConnectionError)):
                    raise Unanswered(type(error).__name__) from error
        raise AssertionError("the second try either answers or raises")

    def close(self) -> None:
        """Close all of them; whoever still waits for an answer gets none."""
        for connection in self._all:
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = http.client.HTTPConnection(*self._address, timeout=REQUEST_WITHIN)
            self._all.append(found)
        return found


class Door:
    """The front door of a running house.

    Args:
        send: Sends one request and waits for its answer.
        threads: Where it waits.
        shut_for: How long an outage is waited for.
    """

    def __init__(self, send: Send, threads: ThreadPoolExecutor, *, shut_for: timedelta = SHUT_FOR) -> None:
        self.waited = 0
        self._send = send
        self._threads = threads
        self._shut_for = shut_for.total_seconds()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, key: str) -> AsyncIterator[Self]:
        """A door with connections of its own, closed at the end."""
        wire, threads = Wire(url, key=key), ThreadPoolExecutor(CONNECTIONS, "demo-door")
        try:
            yield cls(wire.send, threads)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            wire.close()

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Any:
        """What stands there.

        Raises:
            TurnedAway, Shut: It cannot be had.
        """
        return (await self.ask("GET", path, headers=headers)).document()

    async def ask(
        self, method: str, path: str, document: object = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request until the door has really answered it; whoever may not be heard twice sends a key along.

        Raises:
            TurnedAway: The answer is no.
            Shut: There is none.
        """
        content = None if document is None else msgspec.json.encode(document)
        sent = ({"Content-Type": "application/json"} if content else {}) | dict(headers or {})
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._shut_for
        pause = FIRST_PAUSE
        while True:
            try:
                answer = await loop.run_in_executor(self._threads, self._send, method, path, content, sent)
            except Unanswered as error:
                said, wait = str(error), pause
            else:
                if answer.status not in SLOW_DOWN:
                    return _good(answer)
                said, wait = f"{answer.status}", _asked(answer, pause)
            if loop.time() + wait > deadline:
                raise Shut(f"the door has not answered for {self._shut_for:.0f} s; the last was: {said}")
            self.waited += 1
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_OWN_PAUSE)


def _good(answer: Answer) -> Answer:
    if answer.status in GOOD:
        return answer
    try:
        problem = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError:
        problem = {}
    wrong = [f"{error.get('field')}: {error.get('wrong')}" for error in problem.get("errors", []) if error]
    raise TurnedAway(answer.status, "; ".join([str(problem.get("title") or "no problem is told"), *wrong[:1]]))


def _asked(answer: Answer, otherwise: float) -> float:
    """How long the door wants us to wait."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), LONGEST_PAUSE) if text.isdigit() else otherwise
