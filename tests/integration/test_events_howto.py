"""The how-to pages about events and schedules do what they say, run from top to bottom."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.house import TestHouse

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def run(page: str, names: dict[str, object]) -> int:
    blocks = re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return len(blocks)


def test_the_page_about_events_runs_as_it_stands(house: TestHouse, monkeypatch: pytest.MonkeyPatch):
    house.start_worker()
    monkeypatch.setenv("BACKROOM_URL", house.open_door())
    monkeypatch.setenv("BACKROOM_KEY", house.app.secret_key.text)
    names: dict = {}
    try:
        assert run("track-events.md", names) >= 4
    finally:
        names["shop"].close()


def test_the_page_about_schedules_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch):
    # A message's annotations are looked up in its module, so the page has to be one.
    page = ModuleType("page_of_schedules")
    monkeypatch.setitem(sys.modules, page.__name__, page)

    assert run("schedule-a-job.md", vars(page)) == 2
    assert page.sweep_carts.__job__.every == "30 3 * * mon-fri"
