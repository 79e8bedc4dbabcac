"""A file on a shelf that cannot be read stops the house before it opens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import free_port

JOB = '''
from backroom.domain.job import Message, job
from backroom.tools import Tools


class Look(Message, frozen=True, kw_only=True):
    page: str


@job("shop.look")
def look(message: Look, tools: Tools) -> None:
    """Look."""
'''


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JOB.replace("def look(", "def look"), "SyntaxError"),
        ("import a_module_that_is_not_there\n", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        (JOB.replace("message: Look", "message"), "TypeError: look: annotate the first parameter"),
        (
            JOB.replace('job("shop.look")', 'job("shop.look", unique=Unique(by=("nobody",)))').replace(
                "import Message, job", "import Message, job\nfrom backroom.domain.limits import Unique"
            ),
            "TypeError: shop.look: Look has no field nobody",
        ),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_started(tmp_path: Path, text: str, said: str):
    shelf = tmp_path / "shop" / "jobs"
    shelf.mkdir(parents=True)
    for package in (shelf, shelf.parent):
        (package / "__init__.py").touch()
    (shelf / "shop_look.py").write_text(text)
    home = tmp_path / "home"

    done = subprocess.run(
        [sys.executable, "-m", "backroom", "up"],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "BACKROOM_SHELVES": "shop",
            "BACKROOM_HOME": str(home),
            "PORT": str(free_port()),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    told = " ".join((done.stdout + done.stderr).split())
    assert "shop_look.py:" in told.replace(" ", "")
    assert said in told
    assert not (home / "valkey").exists()
