"""The front door is not built with a route that does not say who may use it."""

from __future__ import annotations

import asyncio
import sys

import pytest

import api_shim.routes
from api_shim.app import app, open_door
from backroom.settings import Settings

ROUTE = '''
"""A route of somebody in a hurry."""


class Forgotten:
    async def on_{method}(self, req, resp):
        resp.text = "for whom?"


def routes(door):
    return {{"/v1/forgotten": Forgotten()}}
'''


@pytest.fixture
def door():
    door = open_door(
        Settings(
            _env_file=None,
            redis_url="redis://127.0.0.1/0",
            database_url="postgresql://127.0.0.1/nowhere",
            backroom_secret="x" * 40,
        )
    )
    yield door
    asyncio.run(door.closing.aclose())


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"])
def test_a_route_that_does_not_say_who_may_use_it_is_refused(door, method, tmp_path, monkeypatch):
    (tmp_path / "forgotten.py").write_text(ROUTE.format(method=method.lower()))
    monkeypatch.setattr(api_shim.routes, "__path__", [*api_shim.routes.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "api_shim.routes.forgotten", raising=False)

    with pytest.raises(LookupError, match=f"{method} /v1/forgotten does not say who may use it"):
        app(door)


def test_every_route_there_is_says_who_may_use_it(door):
    assert app(door)
