"""Pages lead where they say, lists name what there is, and what a page says of the code is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import FENCE, HOME, blocks, masked, pages

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?\)")
NAMED_TEST = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")
LOGGED = re.compile(r'\blog\.(?:debug|info|warning|error)\(\s*"([a-z_]+\.[a-z_]+)"')
EVENT = re.compile(r"`([a-z_]+\.[a-z_]+)`(?=[^|\n]*\| (?:info|warning|error) \|)")
# Written before the rule: drawings and one command. Take a page off the list when its blocks have got their language.
WITHOUT_LANGUAGE = {
    "docs/explanation/architecture.md",
    "docs/how-to/add-a-notification.md",
    "docs/reference/simulator.md",
}
PARTS = ("how-to", "reference", "explanation", "tutorials")


def name(page: Path) -> str:
    return str(page.relative_to(HOME))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:|#", link)]

    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]

    assert missing == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_says_its_language(page: Path) -> None:
    bare = [block.place for block in blocks(page) if not block.language]

    assert not bare or name(page) in WITHOUT_LANGUAGE


@pytest.mark.parametrize("part", PARTS)
def test_every_page_stands_in_its_index(part: str) -> None:
    folder = HOME / "docs" / part
    index = folder / "README.md" if (folder / "README.md").exists() else HOME / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(index.read_text("utf-8"))}

    assert {page.resolve() for page in folder.glob("*.md")} - {index} <= listed


def test_every_test_that_a_promise_names_is_there() -> None:
    page = HOME / "docs" / "explanation" / "promises.md"
    named = NAMED_TEST.findall(page.read_text("utf-8"))

    gone = [test for test, file in named if f"def {test}(" not in (page.parent / file).read_text("utf-8")]

    assert len(named) > 20
    assert gone == []


def test_the_page_about_logs_explains_what_is_logged_and_nothing_else() -> None:
    page = (HOME / "docs" / "how-to" / "read-the-logs.md").read_text("utf-8")
    events = EVENT.findall(page)
    code = "".join(
        file.read_text("utf-8")
        for folder in ("alerts", "api_shim", "backroom", "jobs", "workers")
        for file in (HOME / folder).rglob("*.py")
    ) + (HOME / "scheduler.py").read_text("utf-8")

    assert len(events) > 20
    assert [event for event in events if f'"{event}"' not in code] == []
    assert [event for event in LOGGED.findall(code) if f"`{event}`" not in page] == []


def test_the_job_of_the_readme_is_the_one_that_the_how_to_runs() -> None:
    def job(page: Path) -> list[str]:
        return [block.text for block in blocks(page) if block.file == "jobs/shop_look.py"]

    assert job(HOME / "README.md") == job(HOME / "docs" / "how-to" / "write-a-job.md") != []


def test_the_page_for_contributors_stays_short_and_knows_every_command() -> None:
    page = (HOME / "CONTRIBUTING.md").read_text("utf-8")
    commands = re.findall(r"^([a-z]+):.*##", (HOME / "Makefile").read_text("utf-8"), re.MULTILINE)

    assert len(page.splitlines()) < 150
    assert [command for command in commands if f"`make {command}`" not in page and command != "help"] == []


def test_what_differs_from_run_to_run_is_not_compared() -> None:
    one = "id 01a20ac2-c6c1-77a5-8ef6-8ab4bbb9dba9 at 2026-11-23T23:34:26.7Z with br_live_abc-DEF"
    other = "id 01a20ac4-7e8a-751d-bb68-3147f9ab1ee4 at 2027-01-01T00:00:00Z with br_live_xyz"

    assert masked(one) == masked(other)
    assert masked(one) != masked(other.replace("with", "without"))
