"""The how-to pages about records and sessions do what they say, run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house import TestHouse

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize("page", ["store-records.md", "keep-sessions.md"])
def test_the_page_runs_as_it_stands(house: TestHouse, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    house.start_worker()
    monkeypatch.setenv("BACKROOM_URL", house.open_door())
    monkeypatch.setenv("BACKROOM_KEY", house.app.secret_key.text)
    blocks = re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}

    try:
        for block in blocks:
            exec(compile(block, page, "exec"), names)
    finally:
        for name in ("shop", "anna"):
            if name in names:
                names[name].close()  # type: ignore[attr-defined]

    assert len(blocks) >= 4
