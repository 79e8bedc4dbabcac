"""The outbox page: every letter as its reader would see it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import falcon
import falcon.asgi
import jinja2

from backroom.simulator import magic
from backroom.simulator.letter import Letter, Outcome
from backroom.simulator.letterbox import Entry, Letterbox

PAGE = 50
BAR = 1_000
LEAST_SHARE = 8
LINKS_SHOWN = 50
PAGES = Path(__file__).parent / "pages"
VIEWS = ("html", "text", "source")

# A framed letter inherits the page's policy, so inline styles are allowed there, and nothing from elsewhere is.
_POLICY = (
    "default-src 'none'; style-src 'self'{inline}; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_LETTER_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_ASSETS = {"outbox.css": "text/css; charset=utf-8", "outbox.js": "text/javascript; charset=utf-8"}

SAYS = {
    Outcome.DELIVERED: "Delivered",
    Outcome.BOUNCED: "Bounced",
    Outcome.REFUSED: "Refused",
    Outcome.LIMITED: "Told to wait",
    Outcome.FAILED: "Server error",
    Outcome.UNANSWERED: "Never answered",
}
EXPLAINS = {
    Outcome.DELIVERED: "The carrier took this letter, and its reader has it.",
    Outcome.BOUNCED: "There is nobody at this address: the letter came back.",
    Outcome.REFUSED: "The carrier will never take this letter. Sending it again cannot help.",
    Outcome.LIMITED: "The carrier asked to wait. The next try of this delivery is taken.",
    Outcome.FAILED: "The carrier had an error of its own. The third try of this delivery is taken.",
    Outcome.UNANSWERED: "The letter went out, but the sender was never told.",
}
CARRIERS = {"sendgrid": "SendGrid", "twilio": "Twilio", "smtp": "SMTP"}


class Home:
    """`/`."""

    async def on_get(self, _req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """To the outbox."""
        raise falcon.HTTPFound("/outbox")


class List:
    """`/outbox`."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A page of letters, newest first."""
        asked = {name: req.get_param(name, default="").strip() for name in ("medium", "outcome", "words")}
        after = req.get_param("after", default="")
        found = self._box.find(**asked, after=after)
        entries = list(itertools.islice(found, PAGE))
        more = next(found, None) is not None
        chosen = {name: value for name, value in asked.items() if value}
        _show(
            resp,
            "list",
            entries=entries,
            tally=self._box.tally,
            shares=shares(self._box.tally.outcome),
            asked=asked,
            first=not after,
            older=_link({**chosen, "after": entries[-1].id}) if more else "",
            newest=_link(chosen),
            link=lambda **changed: _link({**chosen, **changed}),
            url=f"{req.scheme}://{req.netloc}",
        )


class Read:
    """`/outbox/{letter}`."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, letter: str) -> None:
        """One letter."""
        entry = self._box.entry(letter)
        if entry is None:
            resp.status = falcon.HTTP_404
            return _show(resp, "gone", tally=self._box.tally)
        whole = self._box.read(entry)
        views = [view for view in VIEWS if view == "source" or (whole.medium == "email" and getattr(whole, view))]
        view = req.get_param("view", default="")
        return _show(
            resp,
            "letter",
            inline=True,
            letter=whole,
            views=views,
            view=view if view in views else (views[0] if whole.medium == "email" else ""),
            framed=framed(whole),
            links=links(whole.html) if whole.html else [],
            older=next(self._box.find(after=letter), None),
            newer=self._box.after(entry),
        )


class Recipients:
    """`/outbox/recipients`."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The magic recipients."""
        _show(resp, "recipients", addresses=magic.ADDRESSES, numbers=magic.NUMBERS)


class Assets:
    """`/outbox/assets/{name}`."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        """The style and the one small script."""
        if name not in _ASSETS:
            raise falcon.HTTPNotFound
        resp.content_type = _ASSETS[name]
        resp.data = (PAGES / name).read_bytes()


def shares(counts: Mapping[str, int]) -> list[tuple[Outcome, float, float]]:
    """How a bar of `BAR` units is shared among outcomes: each with its place and width, none too narrow to be seen."""
    met = [outcome for outcome in Outcome if counts.get(outcome)]
    all_of_them = sum(counts[outcome] for outcome in met)
    room = BAR - LEAST_SHARE * len(met)
    found, place = [], 0.0
    for outcome in met:
        width = LEAST_SHARE + room * counts[outcome] / all_of_them
        found.append((outcome, place, width))
        place += width
    return found


def framed(letter: Letter) -> str:
    """An email's HTML as the document of a sandboxed frame, from which nothing remote is loaded."""
    return f'<meta http-equiv="Content-Security-Policy" content="{_LETTER_POLICY}">{letter.html}'


def links(document: str) -> list[tuple[str, str]]:
    """Where an email's links lead: their words with their address. The frame itself follows none."""
    reader = _LinkReader()
    reader.feed(document)
    return reader.found[:LINKS_SHOWN]


class _LinkReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._open = ""
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href") or ""
        if tag == "a" and _scheme(address) in {"http", "https", "mailto"}:
            self._open, self._words = address, []

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open:
            self.found.append((" ".join("".join(self._words).split()), self._open))
            self._open = ""


def _scheme(address: str) -> str:
    try:
        return urlsplit(address).scheme
    except ValueError:
        return ""


def _link(query: dict[str, str]) -> str:
    filled = {name: value for name, value in query.items() if value}
    return "/outbox" + (f"?{urlencode(filled)}" if filled else "")


def _day(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%-d %b")


def _clock(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%H:%M:%S")


def _name(entry: Entry | Letter) -> str:
    return entry.subject or ("(no subject)" if entry.medium == "email" else "")


_pages = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.globals.update(says=SAYS, explains=EXPLAINS, carriers=CARRIERS, outcomes=list(Outcome))
_pages.filters.update(day=_day, clock=_clock, name=_name)


def _show(resp: falcon.asgi.Response, page: str, *, inline: bool = False, **values: Any) -> None:
    resp.content_type = falcon.MEDIA_HTML
    resp.set_header("Content-Security-Policy", _POLICY.format(inline=" 'unsafe-inline'" if inline else ""))
    resp.data = _pages.get_template(f"{page}.html.jinja").render(page=page, **values).encode()
