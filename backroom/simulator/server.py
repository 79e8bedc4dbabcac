"""Puts the carriers, the API and the page together and serves them until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import falcon
import falcon.asgi
import structlog
import uvicorn
import uvloop

from backroom.domain.errors import Invalid
from backroom.simulator import api, outbox, sendgrid, smtp, twilio
from backroom.simulator.desk import Desk
from backroom.simulator.letterbox import Letterbox

CONNECTIONS = 1_000
GRACE_SECONDS = 2
ADDRESS_FILE = "address.json"
_MISDIRECTED = "421 Misdirected Request"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the simulator lives.

    Attributes:
        home: The folder for its letters.
        host: The address to listen on.
        port: Its HTTP port; 0 takes any free one.
        smtp_port: Its SMTP port; 0 takes any free one.
        names: Host names it may be called by in a browser, besides loopback's.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 0
    smtp_port: int = 0
    names: frozenset[str] = frozenset()


App = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]


class Guard:
    """Headers on every answer, and no answer to a page that only pretends to be us."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    async def process_request(self, req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """Refuse foreign host names: a web site could point its own at this machine and read the letters."""
        if req.host.strip("[]") not in self._names:
            raise falcon.HTTPError(
                _MISDIRECTED, description="Start the simulator with --name to be called by this name."
            )

    async def process_response(
        self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, _resource: object, _succeeded: object
    ) -> None:
        """Nothing is sniffed, framed, cached or loaded from elsewhere, unless a page says what it needs."""
        if not resp.get_header("Content-Security-Policy"):
            resp.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("X-Frame-Options", "DENY")
        resp.set_header("Referrer-Policy", "no-referrer")
        resp.set_header("Cross-Origin-Opener-Policy", "same-origin")
        resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
        resp.set_header("Cache-Control", "no-store")


def build(desk: Desk, *, names: frozenset[str] = frozenset()) -> App:
    """The HTTP side."""
    app = falcon.asgi.App(middleware=[Guard(_LOOPBACK | names)])
    app.req_options.strip_url_path_trailing_slash = True
    app.add_route("/v3/mail/send", sendgrid.MailSend(desk))
    app.add_route(f"/{twilio.VERSION}/Accounts/{{account}}/Messages.json", twilio.Messages(desk))
    app.add_route(f"/{twilio.VERSION}/Accounts/{{account}}/Messages/{{sid}}.json", twilio.Message(desk))
    app.add_route("/api/letters", api.Letters(desk.box))
    app.add_route("/api/letters/{letter}", api.OneLetter(desk.box))
    app.add_route("/api/summary", api.Summary(desk.box))
    app.add_route("/healthz", api.Health())
    app.add_route("/", outbox.Home())
    app.add_route("/outbox", outbox.List(desk.box))
    app.add_route("/outbox/recipients", outbox.Recipients())
    app.add_route("/outbox/assets/{name}", outbox.Assets())
    app.add_route("/outbox/{letter}", outbox.Read(desk.box))
    return app


def run(place: Place) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Invalid: A port is taken, or another simulator keeps its letters in the same folder.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(place))


async def _serve(place: Place) -> None:
    with Letterbox(place.home) as box, _bound(place.host, place.port, "--port") as web:
        desk = Desk(box=box)
        server = _Server(
            uvicorn.Config(
                build(desk, names=place.names),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=GRACE_SECONDS,
                h11_max_incomplete_event_size=65_536,
            )
        )

        def stop() -> None:
            desk.closing.set()
            server.should_exit = True

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        with _bound(place.host, place.smtp_port, "--smtp-port") as mail:
            post = await smtp.listen(desk, socket=mail)
            with _announced(place, url=_url(web), smtp_port=mail.getsockname()[1]):
                await server.serve(sockets=[web])
            post.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn would raise a caught signal again at the end, and we would be gone before the files are closed.
        yield


@contextlib.contextmanager
def _bound(host: str, port: int, option: str) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise Invalid(option, f"cannot listen on {host} port {port}: {error.strerror}", "another port") from error
        bound.listen(512)
        bound.setblocking(False)  # noqa: FBT003 - the socket's own method
        yield bound


@contextlib.contextmanager
def _announced(place: Place, *, url: str, smtp_port: int) -> Generator[None]:
    path = place.home / ADDRESS_FILE
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": os.getpid(), "url": url, "smtp_port": smtp_port}))
    fresh.replace(path)
    log.info("simulator.ready", outbox=f"{url}/outbox", smtp_port=smtp_port)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        log.info("simulator.stopped")


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
