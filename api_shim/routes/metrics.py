"""What Prometheus reads of this process, and of the queues."""

from __future__ import annotations

import asyncio

import falcon.asgi
from prometheus_client.exposition import choose_encoder

from api_shim.contract import Answer, Parameter, speaks
from api_shim.door import Door, allow
from api_shim.problem import not_found, unauthorized
from backroom.queue.exposition import is_token

LOOPBACK = {"127.0.0.1", "::1"}
LOCAL = {*LOOPBACK, "localhost", "[::1]"}
# What proxies add: whoever asks through one is not of this machine.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/metrics": Scrape(door)}


class Scrape:
    """Numbers about messages; never what is in one."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._token = door.settings.metrics_token.get_secret_value()

    @allow()
    @speaks(
        asks=[
            Parameter(name="Authorization", place="header", about="`Bearer` and `METRICS_TOKEN`, where one is set."),
            Parameter(name="Accept", place="header", about="Which dialect of the format is wanted."),
        ],
        gives={200: Answer(about="The metrics.", media="text/plain")},
        problems={401: "The token is not the one that is set.", 404: "Without a token, for this machine only."},
    )
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Every metric in Prometheus's text format: with `METRICS_TOKEN`, or without one for this machine only."""
        if self._token:
            if not is_token(req.get_header("Authorization") or "", self._token):
                raise unauthorized()
        elif self._door.settings.public_url or not _from_here(req):
            raise not_found()
        encode, kind = choose_encoder(req.get_header("Accept") or "")
        # It asks Valkey, and waits for the answer.
        resp.data = await asyncio.to_thread(encode, self._door.metrics)
        resp.content_type = kind


def _from_here(req: falcon.asgi.Request) -> bool:
    # A page of elsewhere may have a name of its own for this machine; it says so in `Host`.
    return (
        req.remote_addr in LOOPBACK
        and req.host in LOCAL
        and not any(req.get_header(name) is not None for name in FORWARDED)
    )
