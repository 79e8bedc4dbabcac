"""The door's document is one, says nothing that it should not, and knows every route."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import falcon
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api_shim.app import open_door, routes
from api_shim.contract import Answer, contract, speaks
from api_shim.door import allow, allowed
from api_shim.openapi import document
from backroom.cli._catalogue import NOWHERE, door_document
from backroom.settings import Settings


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return door_document(Settings(_env_file=None))


def operations(written: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, told) for path, methods in written["paths"].items() for method, told in methods.items()
    ]


def test_it_is_an_openapi_3_1_document(written):
    OpenAPIV31SpecValidator(written).validate()


def test_it_has_every_route_of_the_door_and_no_other(written):
    door = open_door(Settings(_env_file=None).model_copy(update=NOWHERE))
    there = {
        (method, path)
        for path, resource in routes(door)
        for method in falcon.HTTP_METHODS
        if method != "OPTIONS" and hasattr(resource, f"on_{method.lower()}")
    }
    asyncio.run(door.closing.aclose())

    assert {(method, path) for method, path, _ in operations(written)} == there


def test_who_may_come_in_is_what_the_door_asks_for(written):
    door = open_door(Settings(_env_file=None).model_copy(update=NOWHERE))
    asked = {
        (method, path): allowed(resource, method)
        for path, resource in routes(door)
        for method in falcon.HTTP_METHODS
        if contract(resource, method)
    }
    asyncio.run(door.closing.aclose())
    named = {"secretKey": "app", "userToken": "user", "writeKey": "track"}

    told = {
        (method, path): frozenset(named[name] for one in operation["security"] for name in one)
        for method, path, operation in operations(written)
    }
    assert told == asked


def test_ids_are_words_and_each_is_there_once(written):
    ids = [operation["operationId"] for _, _, operation in operations(written)]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", one) for one in ids)


def test_every_reference_leads_somewhere_and_every_type_is_referred_to(written):
    referred = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(written)))
    there = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in written["components"][kind]}

    assert referred <= there
    # A shared problem may wait for the next route that has it.
    assert {name for name in there - referred if name.startswith("schemas/")} == set()


def test_a_docstring_tells_about_the_type_and_its_fields(written):
    body = written["components"]["schemas"]["NotificationBody"]

    assert body["description"] == "What an application asks to be told."
    assert body["properties"]["to"]["description"] == "The readers' ids in the application."


def test_a_field_that_another_type_passes_on_is_told_there_too(written):
    assert "RFC" not in written["components"]["schemas"]["NewSession"]["description"]
    assert written["components"]["schemas"]["NewSession"]["properties"]["lapses_at"]["description"]


def test_what_a_route_says_for_itself_comes_before_what_many_share():
    class Odd:
        @allow("app")
        @speaks(gives={200: Answer(about="Fine.")}, problems={404: "Only on Sundays."})
        async def on_get(self, req, resp, user):
            """An odd one."""

    told = document([("/v1/users/{user}/odd", Odd())], version="1")["paths"]["/v1/users/{user}/odd"]["get"]

    assert told["responses"]["404"]["description"] == "Only on Sundays."
    assert told["responses"]["401"] == {"$ref": "#/components/responses/Unauthorized"}
    assert "429" not in told["responses"], "reading puts nothing on the queue"
