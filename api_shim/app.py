"""The front door's composition root: opens what routes need, and hangs the routes by listing their folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import falcon
import falcon.asgi
import structlog

import api_shim.routes
from api_shim import problem
from api_shim.caller import Callers, check_allowed
from api_shim.contract import contract
from api_shim.door import Door, allowed
from api_shim.readers import Readers
from api_shim.reference import reference
from api_shim.traced import Traced
from backroom import connect
from backroom.logs import configure
from backroom.queue.answers import AsyncAnswers
from backroom.queue.counted import CountedAsyncSender
from backroom.queue.exposition import Standing, registry
from backroom.queue.hot import AsyncHot
from backroom.queue.notes import AsyncNotes
from backroom.queue.ops import AsyncQueues, Queues
from backroom.queue.tally import Tally
from backroom.settings import Settings, settings
from backroom.shelf import Shelves
from backroom.store.view import View
from backroom.words import Words

log = structlog.get_logger()

READERS = 8


def build() -> falcon.asgi.App[Any, Any]:
    """The ASGI application, from the environment's settings (`uvicorn --factory api_shim.app:build`)."""
    configure(settings(), door="web")
    return app(open_door(settings()))


def open_door(settings: Settings) -> Door:
    """Open what the routes work with. Connections are made when they are first needed."""
    prefix = settings.key_prefix
    closing = AsyncExitStack()
    # Closed in the opposite order: first what still sends, then what it sends with.
    queue = connect.async_valkey(settings)
    closing.push_async_callback(queue.aclose)
    engine = connect.engine(settings, door="backroom_door", connections=READERS)
    closing.callback(engine.dispose)
    readers = Readers(READERS, patience=timedelta(milliseconds=settings.store_timeout_ms))
    closing.callback(readers.close)
    answers = AsyncAnswers(queue, prefix=prefix)
    closing.push_async_callback(answers.close)
    shelves = Shelves(settings.shelves)
    tally = Tally(shelves.jobs)
    sender = CountedAsyncSender(queue, tally=tally, prefix=prefix, timeout=connect.queue_timeout(settings))
    closing.push_async_callback(sender.close)
    watching = connect.valkey(settings)
    closing.callback(watching.close)
    standing = Standing(Queues(watching, prefix=prefix), known={job.queue for job in shelves.jobs.values()})

    view = View(engine)
    return Door(
        settings=settings,
        sender=sender,
        hot=AsyncHot(queue, prefix=prefix),
        notes=AsyncNotes(queue, prefix=prefix),
        answers=answers,
        queues=AsyncQueues(queue, prefix=prefix),
        view=view,
        readers=readers,
        callers=Callers(view, readers, secret=connect.secret(settings)),
        words=Words(shelves.templates),
        shelves=shelves,
        metrics=registry(tally, standing),
        closing=closing,
    )


def app(door: Door) -> falcon.asgi.App[Any, Any]:
    """Hang every route.

    Raises:
        LookupError: A route does not say who may use it, or what it takes and gives.
    """
    built: falcon.asgi.App[Any, Any] = falcon.asgi.App()
    built.add_middleware([Traced(), _Identity(door), _Lifespan(door)])
    built.req_options.strip_url_path_trailing_slash = True
    problem.install(built)
    for template, resource in routes(door):
        for method in falcon.HTTP_METHODS:
            if hasattr(resource, f"on_{method.lower()}"):
                _check(resource, method, template)
        built.add_route(template, resource)
    return built


def routes(door: Door) -> list[tuple[str, object]]:
    """Every route of the door: URI template and resource."""
    shelved = list(_shelved(door))
    # It is about the others, and about itself.
    shelved.extend(reference(shelved).items())
    return shelved


def _check(resource: object, method: str, template: str) -> None:
    if allowed(resource, method) is None:
        raise LookupError(f"{method} {template} does not say who may use it: decorate it with @allow(...)")
    # What a browser asks by itself before it sends the other one is not part of the document.
    if method != "OPTIONS" and contract(resource, method) is None:
        raise LookupError(f"{method} {template} does not say what it takes and gives: decorate it with @speaks(...)")


def _shelved(door: Door) -> Iterator[tuple[str, object]]:
    for entry in sorted(pkgutil.iter_modules(api_shim.routes.__path__), key=lambda found: found.name):
        module = importlib.import_module(f"{api_shim.routes.__name__}.{entry.name}")
        yield from module.routes(door).items()


class _Identity:
    """Lets in who may come in, before the route runs."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def process_resource(self, req: Any, resp: Any, resource: object, _params: dict[str, Any]) -> None:
        """Recognise the caller, unless the route is for everyone."""
        resp.set_header("X-Content-Type-Options", "nosniff")
        kinds = allowed(resource, req.method)
        if kinds and "track" in kinds:
            # Pages of any website call these; one that cannot read that its key is wrong would try for ever.
            resp.set_header("Access-Control-Allow-Origin", "*")
        if kinds:
            # A write key may also stand in the body; those routes recognise their caller themselves.
            if "track" in kinds and not req.get_header("Authorization"):
                req.context.caller = None
                return
            caller = await self._door.callers.recognise(req)
            check_allowed(caller, kinds)
            req.context.caller = caller


class _Lifespan:
    """Closes what was opened, when the server stops."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def process_startup(self, _scope: Any, _event: Any) -> None:
        """Say that the door is open."""
        log.info("door.opened", port=self._door.settings.port)

    async def process_shutdown(self, _scope: Any, _event: Any) -> None:
        """Send what is buffered, then let go."""
        await self._door.closing.aclose()
        log.info("door.closed")
