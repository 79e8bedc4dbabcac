"""The picture in the README can be taken again by anyone."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import HOME
from tests.scratch import environ_for

pytestmark = pytest.mark.e2e

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def size_of(picture: Path) -> tuple[int, int]:
    start = picture.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", start[16:])


def test_the_picture_of_the_readme_is_taken_by_its_script(tmp_path: Path) -> None:
    if not any(map(shutil.which, BROWSERS)):
        missing = "no Chromium on PATH: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    picture = tmp_path / "outbox.png"

    subprocess.run(
        [sys.executable, "scripts/picture_outbox.py", picture],
        cwd=HOME,
        env=environ_for(HOME, {"HOME": str(tmp_path)}),
        check=True,
        timeout=200,
    )

    assert size_of(picture) == size_of(HOME / "docs" / "images" / "outbox.png")
