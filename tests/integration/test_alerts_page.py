"""The page about memory and logins is true: its commands are sent as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx
import pytest

from tests.house import until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "watch-memory-and-logins.md"


def commands(variables):
    """The curl commands of the page, as requests."""
    page = PAGE.read_text()
    for name, value in variables.items():
        page = page.replace(f'"${name}/', f'"{value}/').replace(f'${name}"', f'{value}"')
    for block in re.findall(r"^```shell\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        words = iter(shlex.split(block))
        assert next(words) == "curl"
        method, url, headers, body = "", "", {}, None
        for word in words:
            if word == "-X":
                method = next(words)
            elif word == "-H":
                key, _, value = next(words).partition(": ")
                headers[key] = value
            elif word == "-d":
                body = next(words)
            elif word != "-s":
                url = word
        yield httpx.Request(method or ("POST" if body else "GET"), url, headers=headers, content=body)


@pytest.fixture
def sent(house):
    house.start_worker()
    with httpx.Client(timeout=15) as client:
        variables = {"BACKROOM": house.open_door(), "KEY": house.app.secret_key.text}
        return [(request, client.send(request)) for request in commands(variables)]


def test_every_command_of_the_page_is_accepted_and_does_what_the_page_says(house, sent):
    assert [(request.method, answer.status_code) for request, answer in sent] == [
        ("PUT", 200),
        ("POST", 200),
        ("GET", 200),
        ("GET", 200),
        ("PUT", 200),
        ("PUT", 200),
    ], [answer.text for _, answer in sent]
    rules = {rule["name"]: rule for rule in sent[3][1].json()["rules"]}
    assert rules["memory.low"]["defaults"] == {"fires_below": 0.1, "clears_above": 0.15, "hold_seconds": 120}
    assert sent[4][1].json()["set"] == {"fires_below": 0.2, "clears_above": 0.25, "hold_seconds": 60}
    assert house.client().get("/v1/users/ada").json()["administrator"] is True
    until(lambda: house.owner().execute("SELECT FROM events WHERE name = 'login.failed'").fetchall())
    assert house.owner().execute("SELECT FROM rule_settings").fetchall() == []
