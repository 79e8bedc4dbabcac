"""The two how-to pages are true: what they show is written to disk as it stands, and works."""

from __future__ import annotations

import importlib
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from backroom.domain.errors import Misconfigured, Rejected, Unreachable
from backroom.domain.letter import Letter
from backroom.settings import conf
from backroom.shelf import ChannelFile, Shelves
from backroom.words import Words

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
LETTER = Letter(
    delivery="d", app="a", user="u", type="t", to="ada-topic", locale="en", parts={"title": "Hello", "text": "Words"}
)


def write_out(page: str, folder: Path) -> None:
    """Write a page's code blocks to the files that they name."""
    blocks = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", (HOW_TO / page).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


class Ntfy(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert message == {"topic": "ada-topic", "title": "Hello", "message": "Words"}
        if not self.status:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = b'{"id": "n-1"}'
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    handler = type("OneNtfy", (Ntfy,), {})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChannelFile]:
    write_out("add-a-channel.md", tmp_path / "howto_shop")
    for package in ("howto_shop", "howto_shop/channels"):
        (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield Shelves(["howto_shop"]).channels["push_ntfy"]
    for name in [name for name in sys.modules if name.startswith("howto_shop")]:
        del sys.modules[name]


def test_the_channel_of_the_page_is_found_by_listing(shown: ChannelFile) -> None:
    assert shown.about == "Push messages to a phone through an ntfy server."
    assert conf("push_ntfy", shown.conf, environ={}) is None
    assert conf("push_ntfy", shown.conf, environ={"PUSH_NTFY_SERVER": "https://ntfy.example"}) is not None


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, Unreachable), (500, Unreachable), (0, Unreachable), (403, Misconfigured), (400, Rejected)],
)
def test_the_channel_of_the_page_classifies(
    shown: ChannelFile, server: HTTPServer, status: int, error: type[Exception]
) -> None:
    channel = shown.channel(shown.conf(server=f"http://127.0.0.1:{server.server_address[1]}"))
    assert channel.send(LETTER).provider_id == "n-1"

    server.RequestHandlerClass.status = status
    with pytest.raises(error) as caught:
        channel.send(LETTER)

    assert getattr(caught.value, "maybe_sent", False) is (status == 0)
    channel._client.close()


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
def test_the_channel_of_the_page_knows_that_nothing_went_out_without_a_connection(
    shown: ChannelFile, error: type[httpx.TransportError]
) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error("")

    channel = shown.channel(shown.conf(server="http://127.0.0.1:9"))
    channel._client.close()
    channel._client = httpx.Client(base_url=channel.conf.server, transport=httpx.MockTransport(fail))
    with pytest.raises(Unreachable) as caught:
        channel.send(LETTER)

    assert caught.value.maybe_sent is False
    channel._client.close()


def test_the_notification_of_the_page_can_be_written(tmp_path: Path) -> None:
    write_out("add-a-notification.md", tmp_path)
    words = Words([*Shelves().templates, tmp_path / "templates"])
    kind = words.types["back_in_stock"]

    words.check("back_in_stock", kind.example)
    assert len({frozenset(words.locales("back_in_stock", medium)) for medium in kind.mediums}) == 1
    for medium, locale, says in [
        ("inbox", "fr", "until November 30"),
        ("email", "de-AT", "€ 2,95"),
        ("email", "en", "€2.95"),
    ]:
        rendered = words.render(
            "back_in_stock", medium, locale=locale, time_zone="UTC", data=kind.example, user={"name": "Ada"}, app={}
        )
        assert says in rendered.parts.get("text", rendered.parts.get("body", "")).replace("\xa0", " ")
