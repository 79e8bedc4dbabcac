"""Every dependency has a reason, and every decision is in the list of decisions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

HOME = Path(__file__).parent.parent.parent
DECISIONS = HOME / "docs" / "decisions"


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements}


def test_every_dependency_has_a_reason_and_every_reason_a_dependency():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    wanted = names(
        [
            *project["project"]["dependencies"],
            *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
            *(one for group in project["dependency-groups"].values() for one in group),
            *project["build-system"]["requires"],
        ]
    )
    rows = re.findall(
        r"^\| `([^`]+)` \| (.+) \|$", (HOME / "docs/explanation/dependencies.md").read_text(), re.MULTILINE
    )

    assert {name for name, _ in rows} == wanted
    assert len(rows) == len(wanted), "a dependency has two reasons"


def test_every_decision_stands_in_the_list_under_its_title():
    listed = re.findall(
        r"^\| (\d+) \| \[(.+)\]\((\d{4}-[\w-]+\.md)\) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )

    written = []
    for path in sorted(DECISIONS.glob("[0-9]*.md")):
        number, _, title = path.read_text().partition("\n")[0].removeprefix("# ").partition(". ")
        assert path.name.startswith(f"{int(number):04}-"), f"{path.name} has another number in its title"
        written.append((number, title, path.name))
    assert listed == written
