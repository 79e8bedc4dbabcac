"""The door's own page: whether everything is there, and where to go from here."""

from __future__ import annotations

import secrets
from pathlib import Path

import falcon
import falcon.asgi
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api_shim.contract import Answer, speaks
from api_shim.door import Door, allow
from api_shim.problem import not_found
from api_shim.routes.health import check
from backroom.shelf import real_carriers

PAGES = Path(__file__).parent.parent / "pages"


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/": Home(door), "/outbox": Outbox(door)}


class Home:
    """The page."""

    def __init__(self, door: Door) -> None:
        self._door = door
        environment = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)
        self._page = environment.get_template("home.html.jinja")

    @allow()
    @speaks(gives={200: Answer(about="A page.", media="text/html")})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Which engine answers, the way to the outbox, and a first request. Nothing about any application."""
        queue, memory = await check(self._door)
        nonce = secrets.token_urlsafe(16)
        resp.content_type = falcon.MEDIA_HTML
        resp.set_header("Content-Security-Policy", f"default-src 'none'; style-src 'nonce-{nonce}'")
        resp.set_header("Referrer-Policy", "no-referrer")
        resp.text = self._page.render(
            nonce=nonce,
            door=self._door.settings.door_url,
            outbox=bool(self._door.settings.simulator_url),
            real=real_carriers(self._door.shelves),
            engines=[
                {"name": "Valkey", "up": queue, "meaning": "nothing is accepted until it is back"},
                {"name": "PostgreSQL", "up": memory, "meaning": "accepting goes on, reading waits until it is back"},
            ],
        )


class Outbox:
    """The way to the simulator's letters."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow()
    @speaks(
        gives={307: Answer(about="Over there.", headers={"Location": "The simulator's page."})},
        problems={404: "There is no simulator here."},
    )
    async def on_get(self, _req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """Go to the simulator, where one is running."""
        if not self._door.settings.simulator_url:
            raise not_found()
        raise falcon.HTTPTemporaryRedirect(f"{self._door.settings.simulator_url}/outbox")
