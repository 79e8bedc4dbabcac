"""Every route, walked by everybody who has no business there: nothing is shown, and nothing is changed.

The routes are those that the front door has when this runs. A route that this file does not know how to fill fails the
test until somebody says how: in `fill` what is there to be found and what its path asks for, in `bodies` what a write
sends.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import falcon
import httpx
import jwt
import psycopg
import pytest
from psycopg import sql

from api_shim.app import open_door, routes
from api_shim.door import allowed
from backroom.embedded import Engines
from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.shelf import Shelves
from backroom.store.admin import Application, create_application
from backroom.store.tables import metadata
from backroom.words import Words
from tests.conftest import TEMPLATE
from tests.house import SECRET, TestHouse, cloned_database, settings_for, until

# Routes that say the same to everybody whom they let in.
SAME_FOR_ALL = {"/healthz", "/readyz", "/metrics", "/v1/types", "/v1/channels", "/v1/alerts/rules"}
# Ids that we made: whoever may not see the thing is told that there is none.
MADE_BY_US = {"notification", "item", "operation", "alert"}

# Marks that work is due, which events of anybody leave: they say nothing of anybody.
MARKS = {"stale_days"}

ADA = f"ada-{uuid.uuid4().hex[:8]}"
BOB = f"bob-{uuid.uuid4().hex[:8]}"
VISITOR = f"visitor-{uuid.uuid4().hex[:8]}"
# What only the first application and its Ada know. No byte of it may reach anybody else.
PRIVATE = f"private{uuid.uuid4().hex}"


WORDS = Words(Shelves().templates)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one route."""

    method: str
    path: str
    kinds: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def variables(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)


@dataclass(kw_only=True)
class Filled:
    """A house in which there is one of everything, and who may come in."""

    house: TestHouse
    url: str
    other: Application
    owner: psycopg.Connection[Any]
    routes: list[Route]
    names: dict[str, str] = field(default_factory=dict)
    session: str = ""

    def client(self, key: str) -> httpx.Client:
        return self.house.client(self.url, key=key)

    def token(self, app: Application, user: str) -> str:
        answer = self.client(app.secret_key.text).post(f"/v1/users/{user}/tokens")
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def run_job(self, name: str, **message: Any) -> None:
        """Ask for a job as the clock would, and wait until everything that follows is done."""
        client = open_client(self.house.settings.redis_url)
        job = Shelves().jobs[name]
        post = Post(job=name, queue=job.queue, message=job.message(**message), id=str(uuid.uuid4()))
        Sender(client, prefix=self.house.settings.key_prefix).send([post])
        client.close()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing waits in the queues, and nobody is at work."""
        queues = self.house.queues()
        until(
            lambda: all(depth.ready + depth.delayed + depth.inflight == 0 for depth in queues.depths().values()),
            what="everything is done",
        )

    def rows(self) -> set[str]:
        """Everything that the memory holds of the first application."""
        found: set[str] = set()
        for table in metadata.sorted_tables:
            if "app_id" in table.c and table.name not in MARKS:
                query = sql.SQL("SELECT row_to_json(t)::text FROM {} t WHERE app_id = %s").format(
                    sql.Identifier(table.name)
                )
                found |= {f"{table.name} {row}" for (row,) in self.owner.execute(query, [self.house.app.id])}
        return found

    def state(self) -> dict[str, Any]:
        """The session as its owner sees it, from the hot copy."""
        answer = self.client(self.house.app.secret_key.text).get(
            "/v1/sessions/current", headers={"Session-Token": self.session}
        )
        assert answer.status_code == 200, answer.text
        return {name: answer.json()[name] for name in ("user", "state", "version")}


@pytest.fixture(scope="module")
def filled(template: str, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    assert engines.valkey is not None
    with cloned_database(template, TEMPLATE) as url:
        house = TestHouse(
            settings=settings_for(redis_url=engines.valkey.url, database_url=url, home=tmp_path_factory.mktemp("home")),
            app=create_application(url, name="shop", secret=SECRET.encode()),
        )
        try:
            house.start_worker()
            filled = Filled(
                house=house,
                url=house.open_door(),
                other=house.another_app("rival"),
                owner=house.owner(),
                routes=list(every_route(house)),
            )
            fill(filled)
            yield filled
        finally:
            house.close()


def every_route(house: TestHouse) -> Iterator[Route]:
    """What the front door really has, closed routes before open ones, reading before writing before deleting."""
    order = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]
    door = open_door(house.settings)
    found = [
        Route(method=method, path=path, kinds=allowed(resource, method) or frozenset())
        for path, resource in routes(door)
        for method in falcon.HTTP_METHODS
        if hasattr(resource, f"on_{method.lower()}")
    ]
    return iter(sorted(found, key=lambda route: (order.index(route.method), route.path)))


# Filling the house ----------------------------------------------------------------------------------------------------


def fill(filled: Filled) -> None:
    """Put one of everything there, through the front door."""
    app = filled.client(filled.house.app.secret_key.text)
    app.headers["Prefer"] = "wait=10"
    for user in (ADA, BOB):
        profile = {"name": f"{user} {PRIVATE}", "contacts": {"email": f"{user}@{PRIVATE}.example.com"}}
        _ok(app.put(f"/v1/users/{user}", json=profile | {"administrator": True} if user == ADA else profile))
    ada = filled.client(filled.token(filled.house.app, ADA))
    ada.headers["Prefer"] = "wait=10"

    posted = _ok(app.post("/v1/notifications", json=notification(ADA, carrier=PRIVATE)))
    filled.settle()
    (item,) = _ok(app.get(f"/v1/users/{ADA}/inbox")).json()["items"]

    for client in (app, ada):
        _ok(client.put("/v1/records/notes/first", json={"says": PRIVATE}))
    operation = ada.put("/v1/records/notes/second", json={"says": PRIVATE}, headers={"Prefer": "wait=0"})
    session = _ok(app.post("/v1/sessions", json={"user": ADA, "state": {"says": PRIVATE}}))
    filled.session = session.json()["token"]

    _ok(app.post("/v1/identify", json={"userId": ADA, "anonymousId": VISITOR, "traits": {"says": PRIVATE}}))
    events = [
        {"type": "track", "event": "login.failed", "userId": ADA, "properties": {"source": PRIVATE, "account": ADA}}
        for _ in range(8)
    ]
    _ok(app.post("/v1/batch", json={"batch": events}))
    _ok(app.post("/v1/batch", json={"batch": list(shopping())}))
    _ok(app.put("/v1/alerts/rules/login.suspicious", json={"settings": {"capacity": 4}}))
    filled.settle()
    filled.run_job("rule.check", app=filled.house.app.id, rule="login.suspicious")
    _ok(app.post("/v1/insights/refresh"))
    (alert,) = _ok(app.get("/v1/alerts")).json()["alerts"]

    filled.names |= {
        "file": "nobodys-file",
        "user": ADA,
        "notification": posted.json()["id"],
        "item": item["id"],
        "collection": "notes",
        "key": "first",
        "operation": operation.headers["Location"].rpartition("/")[2],
        "alert": alert["id"],
        "rule": "login.suspicious",
    }


def shopping() -> Iterator[dict[str, Any]]:
    """What insights and recommendations are made of: people who looked at, and bought, two things together."""
    yield {"type": "page", "userId": ADA, "properties": {"path": f"/{PRIVATE}"}}
    yield {"type": "track", "userId": ADA, "event": "Products Searched", "properties": {"query": PRIVATE}}
    for user in (ADA, "eve", "fred"):
        things = [{"product_id": f"{PRIVATE}-{number}", "price": 2, "quantity": 1} for number in (1, 2)]
        for thing in things[: 1 if user == ADA else 2]:
            yield {"type": "track", "userId": user, "event": "Product Viewed", "properties": thing}
        order = {"order_id": f"{PRIVATE}-{user}", "products": things[: 1 if user == ADA else 2]}
        yield {"type": "track", "userId": user, "event": "Order Completed", "properties": order}


def notification(user: str, **data: str) -> dict[str, Any]:
    return {
        "type": "order_shipped",
        "to": [user],
        "data": {**WORDS.types["order_shipped"].example, "order": f"order-{user}", **data},
        "idempotency_key": "the same for everybody",
    }


def bodies(route: Route, known: str) -> list[dict[str, Any] | None]:
    """What a write sends, once for each body. `known` marks what the intruder writes."""
    event = {"userId": ADA, "anonymousId": VISITOR, "previousId": VISITOR, "event": "Product Viewed"}
    events = [event, {**event, "userId": None}, {**event, "messageId": known}]
    written: dict[str, list[dict[str, Any] | None]] = {
        "PUT /v1/users/{user}": [{"name": known}],
        "POST /v1/users/{user}/tokens": [None],
        "POST /v1/notifications": [notification(ADA)],
        "PUT /v1/users/{user}/inbox/{item}/read": [None],
        "PUT /v1/records/{collection}/{key}": [{"says": known}],
        "POST /v1/sessions": [{"user": ADA, "state": {"says": known}}],
        "PUT /v1/sessions/current": [{"says": known}],
        "PATCH /v1/sessions/current": [{"says": known}],
        "POST /v1/insights/refresh": [None],
        "POST /v1/digests": [None],
        "PUT /v1/alerts/{alert}/acknowledgement": [{"by": known}],
        "PUT /v1/alerts/rules/{rule}": [{"settings": {"capacity": 999}}],
        "POST /v1/batch": [{"batch": [{"type": "track", **one} for one in events]}],
        "POST /v1/b": [{"batch": [{"type": "track", **one} for one in events]}],
    }
    for path in ("track", "page", "screen", "identify", "group", "alias"):
        written[f"POST /v1/{path}"] = written[f"POST /v1/{path[0]}"] = list(events)
    if route.method in {"GET", "HEAD", "OPTIONS", "DELETE"}:
        return [None]
    assert str(route) in written, f"say how to fill this route: {route} needs a body, in `bodies`"
    return written[str(route)]


# Walking --------------------------------------------------------------------------------------------------------------


def requests(filled: Filled, route: Route, known: str) -> Iterator[dict[str, Any]]:
    """Every way in which somebody may ask a route for what is Ada's."""
    missing = [name for name in route.variables if name not in filled.names]
    assert not missing, f"say how to fill this route: {route} needs a name for {missing}, in `fill`"
    path = route.path.format_map(filled.names)
    kind = "application/merge-patch+json" if route.method == "PATCH" else "application/json"
    headers = {"Session-Token": filled.session, "Prefer": "wait=5", "Content-Type": kind}
    guesses = {"owner": ADA, "user": ADA, "user_id": ADA, "visitor": VISITOR}
    for body in bodies(route, known):
        for params in ({}, guesses):
            for condition in ({}, {"If-Match": '"1"'}) if route.method not in {"GET", "POST"} else ({},):
                yield {
                    "method": route.method,
                    "url": path,
                    "params": params,
                    "json": body,
                    "headers": headers | condition,
                }


def walk(filled: Filled, key: str, known: str = "intruder") -> Iterator[tuple[Route, dict[str, Any], httpx.Response]]:
    client = filled.client(key)
    for route in filled.routes:
        for request in requests(filled, route, known):
            yield route, request, client.request(**request)


def leaks(filled: Filled, request: dict[str, Any], answer: httpx.Response) -> list[str]:
    """What the answer says of Ada's that the request did not."""
    asked = f"{answer.request.url} {request['json']} {request['headers']}"
    said = f"{answer.headers} {answer.text}"
    secret = {PRIVATE, ADA, VISITOR, filled.session, *(filled.names[name] for name in MADE_BY_US)}
    return [word for word in secret if word in said and word not in asked]


def _ok(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer


# The claims -----------------------------------------------------------------------------------------------------------


def test_the_house_is_full_so_that_there_is_something_to_find(filled):
    app, ada = filled.house.app.secret_key.text, filled.token(filled.house.app, ADA)
    for route in filled.routes:
        if route.method != "GET" or route.path in SAME_FOR_ALL:
            continue
        for kind, key in (("app", app), ("user", ada)):
            if kind in route.kinds:
                request = next(requests(filled, route, ""))
                answer = filled.client(key).request(**request)
                if kind == "app" and answer.status_code == 404:
                    # What belongs to a user, the application finds under the user's name.
                    answer = filled.client(key).request(**request | {"params": {"owner": ADA}})
                assert answer.status_code == 200, f"say how to fill this route: {route} answers {answer.text}"
                found = [word for word in (PRIVATE, *filled.names.values()) if word in answer.text]
                assert found, f"say how to fill this route: {route} shows {kind} nothing of its own: {answer.text}"


@pytest.mark.parametrize("key", ["", "nonsense", "br_live_0123456789_" + "x" * 43, "forged", "expired"])
def test_nobody_comes_in_without_a_key(filled, key):
    before = filled.rows()
    if key in {"forged", "expired"}:
        key = _token(filled, forged=key == "forged")

    for route, request, answer in walk(filled, key):
        if route.kinds:
            assert answer.status_code == 401, f"{route}: {answer.status_code} {answer.text}"
        assert leaks(filled, request, answer) == [], route

    filled.settle()
    assert filled.rows() == before


def test_a_write_key_hands_in_events_and_opens_nothing_else(filled):
    state = filled.state()
    before = {row for row in filled.rows() if not row.startswith(("events ", "identities "))}

    for route, request, answer in walk(filled, filled.house.app.write_key.text):
        assert leaks(filled, request, answer) == [], route
        if route.kinds and "track" not in route.kinds:
            assert answer.status_code == 403, f"{route}: {answer.status_code} {answer.text}"

    filled.settle()
    assert before - filled.rows() == set()
    assert filled.state() == state


@pytest.mark.parametrize("user", ["", ADA], ids=["itself", "its user of the same name"])
def test_another_application_gets_nothing_and_changes_nothing(filled, user):
    key = filled.token(filled.other, user) if user else filled.other.secret_key.text
    before, state = filled.rows(), filled.state()

    for route, request, answer in walk(filled, key):
        assert leaks(filled, request, answer) == [], f"{route}: {answer.text}"
        assert answer.status_code < 500, f"{route}: {answer.text}"
        if MADE_BY_US & set(route.variables):
            assert answer.status_code in {403, 404}, f"{route}: {answer.status_code} {answer.text}"

    filled.settle()
    assert filled.rows() == before
    assert filled.state() == state


def test_another_user_of_the_same_application_gets_nothing_and_changes_nothing(filled):
    before, state = filled.rows(), filled.state()

    for route, request, answer in walk(filled, filled.token(filled.house.app, BOB), known=BOB):
        assert leaks(filled, request, answer) == [], f"{route}: {answer.text}"
        assert answer.status_code < 500, f"{route}: {answer.text}"
        if (MADE_BY_US | {"user"}) & set(route.variables):
            assert answer.status_code in {403, 404}, f"{route}: {answer.status_code} {answer.text}"
        if route.kinds and not {"user"} & route.kinds:
            assert answer.status_code == 403, f"{route}: {answer.status_code} {answer.text}"

    filled.settle()
    after = filled.rows()
    assert before - after == set()
    # What Bob wrote is Bob's own.
    assert [row for row in after - before if BOB not in row] == []
    assert filled.state() == state


def test_what_still_waits_in_the_queue_is_nobody_elses_either(house: TestHouse):
    # No worker runs: the front door can know of all this from the queue only.
    url = house.open_door()
    app = house.client(url)
    rival = house.client(url, key=house.another_app().secret_key.text)
    for user in (ADA, BOB):
        _ok(app.put(f"/v1/users/{user}", json={}))
    ada, bob = (house.client(url, key=_ok(app.post(f"/v1/users/{user}/tokens")).json()["token"]) for user in (ADA, BOB))
    posted = _ok(app.post("/v1/notifications", json=notification(ADA))).headers["Location"]
    written = _ok(ada.put("/v1/records/notes/first", json={"says": PRIVATE})).headers["Location"]

    assert app.get(posted).json()["state"] == "accepted"
    assert ada.get(written).json()["state"] == "accepted"
    assert rival.get(posted).status_code == 404
    assert bob.get(posted).status_code == 403
    assert rival.get(written).status_code == 404
    assert bob.get(written).status_code == 404


def test_a_name_near_another_applications_is_not_suggested(filled):
    stranger = filled.client(filled.house.another_app().secret_key.text)

    answer = stranger.post("/v1/notifications", json=notification(ADA[:-1]))

    assert answer.status_code == 422
    assert ADA not in answer.text


def _token(filled: Filled, *, forged: bool) -> str:
    now = datetime.now(UTC) - (timedelta(0) if forged else timedelta(days=1))
    if not forged:
        door = open_door(filled.house.settings)
        return door.callers.mint(app=filled.house.app.id, user=ADA, lasts=timedelta(minutes=1), now=now)
    claims = {
        "iss": "backroom",
        "aud": "backroom:user",
        "app": filled.house.app.id,
        "sub": ADA,
        "iat": now,
        "exp": now + timedelta(minutes=5),
    }
    return jwt.encode(claims, "somebody else's secret, of a decent length", algorithm="HS256")
