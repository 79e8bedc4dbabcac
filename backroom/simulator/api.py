"""What tests and the demo ask: which letters came, and how many of each kind."""

from __future__ import annotations

import falcon
import falcon.asgi
import msgspec

from backroom.simulator.letterbox import PAGE_LIMIT, Letterbox

PAGE = 100
_FILTERS = ("delivery", "to", "medium", "outcome")


class Letters:
    """`/api/letters`."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Letters that fit, newest first; `next` is the `after` of the next page, or null."""
        unknown = sorted(set(req.params) - {*_FILTERS, "words", "after", "limit"})
        if unknown:
            raise falcon.HTTPInvalidParam("There is no such filter.", unknown[0])
        limit = req.get_param_as_int("limit", default=PAGE, min_value=1, max_value=PAGE_LIMIT) or PAGE
        after = req.get_param("after", default="")
        if after and self._box.entry(after) is None:
            raise falcon.HTTPInvalidParam("There is no letter with this id any more.", "after")
        found = self._box.find(
            delivery=req.get_param("delivery", default=""),
            to=req.get_param("to", default=""),
            medium=req.get_param("medium", default=""),
            outcome=req.get_param("outcome", default=""),
            words=req.get_param("words", default=""),
            after=after,
        )
        letters, last = self._box.page(found, limit=limit)
        _show(resp, {"letters": letters, "next": last or None})

    async def on_delete(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Forget every letter with every count."""
        _show(resp, {"cleared": self._box.clear()})


class OneLetter:
    """`/api/letters/{letter}`."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, letter: str) -> None:
        """One letter."""
        found = self._box.get(letter)
        if found is None:
            raise falcon.HTTPNotFound(title="There is no such letter.")
        _show(resp, found)


class Summary:
    """`/api/summary`."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """How many letters of each kind came, and the newest one's id."""
        _show(resp, {**msgspec.to_builtins(self._box.tally), "newest": self._box.newest or None})


class Health:
    """`/healthz`."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """It runs."""
        _show(resp, {"status": "ok"})


def _show(resp: falcon.asgi.Response, document: object) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(document)
