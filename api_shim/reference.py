"""The door's own document, for programs, and a page for people to read it and try it."""

from __future__ import annotations

import asyncio
import gzip
import secrets
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from swagger_ui_bundle import swagger_ui_path

from api_shim.contract import Answer, speaks
from api_shim.door import allow
from api_shim.openapi import document
from api_shim.problem import not_found

PAGES = Path(__file__).parent / "pages"
# What the page needs of the viewer, and nothing else of its folder.
VIEWER = {
    "swagger-ui-bundle.js": falcon.MEDIA_JS,
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": falcon.MEDIA_PNG,
}
A_DAY = "public, max-age=86400"


def reference(others: Sequence[tuple[str, object]]) -> dict[str, object]:
    """URI templates and their resources.

    Args:
        others: Those of the door, which the document is about.
    """
    return {"/openapi.json": Document(others), "/docs": Page(), "/docs/{file}": Viewer()}


class Document:
    """What the door takes and gives."""

    def __init__(self, routes: Sequence[tuple[str, object]]) -> None:
        self._routes = routes
        self._text = b""

    @allow()
    @speaks(gives={200: Answer(about="The document.", body=dict[str, Any])})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """This document (OpenAPI 3.1): every route, what it takes and what it answers."""
        if not self._text:
            self._text = msgspec.json.encode(document(self._routes, version=version("backroom")))
        resp.set_header("Cache-Control", "no-cache")
        resp.data = self._text


class Page:
    """The document to read."""

    def __init__(self) -> None:
        environment = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)
        self._page = environment.get_template("docs.html.jinja")

    @allow()
    @speaks(gives={200: Answer(about="A page.", media="text/html")})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A page that shows this document, and sends what you try to this door."""
        nonce = secrets.token_urlsafe(16)
        resp.content_type = falcon.MEDIA_HTML
        resp.set_header(
            "Content-Security-Policy",
            # The viewer sets styles of its own, and keeps its pictures in them.
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; font-src data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        )
        resp.set_header("Referrer-Policy", "no-referrer")
        resp.text = self._page.render(nonce=nonce)


class Viewer:
    """The viewer's files."""

    @allow()
    @speaks(gives={200: Answer(about="The file.", media="application/octet-stream")})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, file: str) -> None:
        """A file of the page."""
        if file not in VIEWER:
            raise not_found()
        resp.content_type = VIEWER[file]
        resp.set_header("Cache-Control", A_DAY)
        resp.set_header("Content-Encoding", "gzip")
        resp.data = await asyncio.to_thread(_packed, file)


@cache
def _packed(file: str) -> bytes:
    # A megabyte and a half of text is a third of that.
    return gzip.compress((Path(swagger_ui_path) / file).read_bytes(), mtime=0)
