"""The README, the tutorial and every how-to page that asks for it are followed as a reader would follow them."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import SECRET, cloned_database, until
from tests.pages import HOME, Reader, blocks, pages

pytestmark = pytest.mark.e2e

README = HOME / "README.md"
PRODUCTION = HOME / "docs" / "how-to" / "run-in-production.md"
RUN = [page for page in pages() if any("run" in block.words for block in blocks(page))]


@pytest.fixture
def reader() -> Iterator[Callable[..., Reader]]:
    """Readers with a folder of their own, who are gone when the test is over."""
    # Not in pytest's folder: as root, PostgreSQL's user could not reach it, and its data would stay elsewhere.
    around = Path(tempfile.mkdtemp(prefix="backroom-page-"))
    around.chmod(0o755)
    begun: list[Reader] = []

    def begin(**environ: str) -> Reader:
        begun.append(Reader(around / "backroom", **environ))
        return begun[-1]

    yield begin
    for one in begun:
        one.leave()
    shutil.rmtree(around, ignore_errors=True)


@pytest.mark.parametrize("page", [page for page in RUN if page not in (README, PRODUCTION)], ids=lambda page: page.stem)
def test_who_follows_the_page_sees_what_it_shows(reader: Callable[..., Reader], page: Path) -> None:
    reader().follow(page)


def test_who_follows_the_readme_has_the_letters_that_it_speaks_of(reader: Callable[..., Reader]) -> None:
    newcomer = reader()

    newcomer.follow(README)

    until(
        lambda: {letter["medium"] for letter in newcomer.letters()} == {"email", "sms"}, what="both letters are there"
    )
    assert {letter["to"] for letter in newcomer.letters()} == {"ada@example.com", "+4366012345678"}


def test_who_brings_engines_follows_the_page_about_production(
    reader: Callable[..., Reader], redis_url: str, template: str
) -> None:
    with cloned_database(template, "template0") as empty:
        given = {"REDIS_URL": redis_url, "DATABASE_URL": empty, "BACKROOM_SECRET": SECRET}

        reader(**given, KEY_PREFIX=f"t{uuid.uuid4().hex[:12]}").follow(PRODUCTION)


def test_the_readme_and_the_tutorial_are_among_them() -> None:
    assert {README, HOME / "docs" / "tutorials" / "first-notification.md", PRODUCTION} <= set(RUN)
