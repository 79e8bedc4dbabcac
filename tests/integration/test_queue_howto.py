"""The how-to page about moving a Dramatiq program does what it says, run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import dramatiq
import pytest

from tests.integration.queue_engine import running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "move-from-dramatiq.md"


def test_the_page_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = dramatiq.broker.global_broker
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    with running(tmp_path) as engine:
        monkeypatch.setenv("REDIS_URL", engine.url)
        try:
            for block in blocks:
                exec(compile(block, str(PAGE), "exec"), names)
        finally:
            dramatiq.set_broker(before)  # type: ignore[arg-type]
        names["broker"].close()  # type: ignore[attr-defined]

    assert capsys.readouterr().out == "Hello, Ada\nHello, Bob\n"
    assert len(blocks) == 2
