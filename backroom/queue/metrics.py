"""A worker's metrics: counts what becomes of messages, and shows it to Prometheus on a port of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Thread, local
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from dramatiq.middleware import Middleware
from prometheus_client import make_wsgi_app

from backroom.queue.decisions import Again, Dead, Decision, Done
from backroom.queue.delivery import Delivery
from backroom.queue.exposition import is_token, registry
from backroom.queue.tally import Counts, Tally

if TYPE_CHECKING:
    from dramatiq import Actor, Broker, Message, MessageProxy, Worker
    from prometheus_client import CollectorRegistry

# How many processes of one machine find a port each.
MOST_PORTS = 64

log = structlog.get_logger()


class Metrics(Middleware):
    """Counts what becomes of messages. It has to stand before `Decide` in the list, for it looks at what that decided.

    Args:
        tally: Where to count.
        port: The first port to try to serve on; the next free one is taken, for each process needs one. 0 for none.
        host: Where to listen.
        token: What a request's `Authorization: Bearer` has to say; empty for nothing.
    """

    def __init__(self, tally: Tally, *, port: int = 0, host: str = "127.0.0.1", token: str = "") -> None:
        self._tally = tally
        self._port, self._host, self._token = port, host, token
        self._server: WSGIServer | None = None
        self._here = local()

    def after_declare_actor(self, broker: Broker, actor: Actor[..., Any]) -> None:  # noqa: ARG002 - its signature
        """There is one job more."""
        self._tally.know(actor.actor_name)

    def after_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:  # noqa: ARG002
        """Somebody sent with Dramatiq's own words."""
        self._tally.of(message.queue_name, message.actor_name).enqueued += 1

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        """An attempt begins."""
        if not isinstance(message, Delivery):
            return
        counts = self._tally.of(message.queue_name, message.actor_name)
        counts.started += len(message.held)
        now = time.time()
        for one, _, nth in message.held:
            if nth == 1 and "attempt" not in one.options:
                waited = now - one.message_timestamp / 1000
                # Whoever sent it has a clock of its own.
                counts.wait.add(waited if waited > 0 else 0.0)
        self._here.begun = counts, time.perf_counter()

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """It has ended, and its end is decided."""
        if not isinstance(message, Delivery):
            return
        counts, begun = self._here.begun
        counts.run.add(time.perf_counter() - begun)
        otherwise = message.otherwise or (Dead(reason="") if exception else Done())
        if not message.decisions:
            _count(counts, otherwise, len(message.held))
            return
        for held in message.held:
            _count(counts, message.decisions.get(held.message.message_id, otherwise), 1)

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Serve from now on, if that is wanted."""
        if self._port:
            self._server = serve(registry(self._tally), host=self._host, port=self._port, token=self._token)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Serve no longer."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


def serve(shown: CollectorRegistry, *, host: str, port: int, token: str = "") -> WSGIServer | None:
    """Serve metrics from a thread, on the first free port from this one on; None where there is none.

    A worker that works without being watched is better than one that does not.
    """
    app = _guarded(make_wsgi_app(shown), token)
    for tried in range(port, min(port + MOST_PORTS, 65_536)):
        try:
            server = make_server(host, tried, app, server_class=_server_for(host), handler_class=_Silent)
        except OSError:
            continue
        Thread(target=server.serve_forever, name="backroom-metrics", daemon=True).start()
        log.info("metrics.served", host=host, port=tried)
        return server
    log.warning("metrics.unserved", host=host, port=port)
    return None


def _count(counts: Counts, decision: Decision, messages: int) -> None:
    if isinstance(decision, Done):
        if decision.state == "done":
            counts.done += messages
        else:
            counts.cancelled += messages
    elif isinstance(decision, Again):
        if decision.counted:
            counts.failed += messages
            counts.retried += messages
        else:
            counts.snoozed += messages
    elif isinstance(decision, Dead):
        counts.failed += messages
        counts.dead += messages
    else:
        counts.released += messages


def _guarded(app: Callable[..., Iterable[bytes]], token: str) -> Callable[..., Iterable[bytes]]:
    if not token:
        return app

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if is_token(environ.get("HTTP_AUTHORIZATION", ""), token):
            return app(environ, start)
        start("401 Unauthorized", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")])
        return [b"a token is needed\n"]

    return guarded


def _server_for(host: str) -> type[WSGIServer]:
    import socket  # noqa: PLC0415 - only where metrics are served

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return type("MetricsServer", (WSGIServer,), {"address_family": family})


class _Silent(WSGIRequestHandler):
    # Who hangs must not keep the others from being served.
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not worth a line."""
