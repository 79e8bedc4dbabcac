"""The README, the tutorial and every how-to page that asks for it are followed as a reader would follow them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import HOME, Reader, blocks, pages

pytestmark = pytest.mark.e2e

RUN = [page for page in pages() if any("run" in block.words for block in blocks(page))]


@pytest.fixture
def reader() -> Iterator[Reader]:
    # Not in pytest's folder: as root, PostgreSQL's user could not reach it, and its data would stay elsewhere.
    around = Path(tempfile.mkdtemp(prefix="backroom-page-"))
    around.chmod(0o755)
    reader = Reader(around / "backroom")
    yield reader
    reader.leave()
    shutil.rmtree(around, ignore_errors=True)


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(HOME)))
def test_who_follows_the_page_sees_what_it_shows(reader: Reader, page: Path) -> None:
    reader.follow(page)


def test_the_readme_and_the_tutorial_are_among_them() -> None:
    assert {HOME / "README.md", HOME / "docs" / "tutorials" / "first-notification.md"} <= set(RUN)
