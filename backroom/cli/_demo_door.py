"""Asks the front door as an application does: with its key, patient where the door asks for patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import httpx
import msgspec

from backroom.domain.errors import BackroomError

CONNECTIONS = 20
REQUEST_WITHIN = 30.0
# An outage is waited for; a door that stays shut for longer ends the demo.
SHUT_FOR = timedelta(minutes=2)
LONGEST_PAUSE = 30.0
SLOW_DOWN = frozenset({429, 503})


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


class Door:
    """The front door of a running house.

    Args:
        client: Knows the address and the key.
        shut_for: How long an outage is waited for.
    """

    def __init__(self, client: httpx.AsyncClient, *, shut_for: timedelta = SHUT_FOR) -> None:
        self.waited = 0
        self._client = client
        self._shut_for = shut_for.total_seconds()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, key: str) -> AsyncIterator[Self]:
        """A door with connections of its own, closed at the end."""
        async with httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=REQUEST_WITHIN,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
        ) as client:
            yield cls(client)

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Any:
        """What stands there.

        Raises:
            TurnedAway, Shut: It cannot be had.
        """
        return _document(await self.ask("GET", path, headers=headers))

    async def ask(
        self, method: str, path: str, document: object = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request until the door has really answered it; whoever may not be heard twice sends a key along.

        Raises:
            TurnedAway: The answer is no.
            Shut: There is none.
        """
        content = None if document is None else msgspec.json.encode(document)
        sent = {"Content-Type": "application/json", **(headers or {})} if content else headers
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._shut_for
        tries = 0
        while True:
            said, pause = "", min(0.1 * 2**tries, 2.0)
            try:
                answer = await self._client.request(method, path, content=content, headers=sent)
            except httpx.TransportError as error:
                said = type(error).__name__
            else:
                if answer.status_code not in SLOW_DOWN:
                    return _good(answer)
                said = f"{answer.status_code}"
                pause = _asked(answer, pause)
            if loop.time() + pause > deadline:
                raise Shut(f"the door has not answered for {self._shut_for:.0f} s; the last was: {said}")
            tries += 1
            self.waited += 1
            await asyncio.sleep(pause)


def _good(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError:
        problem = {}
    wrong = [f"{error.get('field')}: {error.get('wrong')}" for error in problem.get("errors", []) if error]
    raise TurnedAway(answer.status_code, "; ".join([problem.get("title") or answer.reason_phrase, *wrong[:1]]))


def _document(answer: httpx.Response) -> Any:
    return msgspec.json.decode(answer.content)


def _asked(answer: httpx.Response, otherwise: float) -> float:
    """How long the door wants us to wait."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE) if text.isdigit() else otherwise
