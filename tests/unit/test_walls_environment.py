"""One file reads the environment; whoever else has to touch it says why, here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent.parent
OURS = ("alerts", "api_shim", "backroom", "channels", "jobs", "scripts", "workers")

READS_SETTINGS = "backroom/settings.py"
ALLOWED = {
    READS_SETTINGS: "the one place",
    "backroom/cli/_house.py": "`backroom up` hands its own environment, completed, to the processes it starts",
    "backroom/cli/_demo_house.py": "`backroom demo` reads the `.env` of the processes that it finds running",
    "backroom/queue/faults.py": "a fault is aimed at one process from outside of it, and is no setting of the house",
    "scripts/picture_outbox.py": "starts a house of its own, with the environment it was given",
    "backroom/cli/_screen.py": "NO_COLOR is a terminal's convention, no setting of ours",
}
NAMES = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
PACKAGES = {"pydantic_settings", "dotenv"}


def touches(path: Path) -> bool:
    return any(_touching(node) for node in ast.walk(ast.parse(path.read_text())))


def _touching(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id in {"os", "posix"} and node.attr in NAMES
    if isinstance(node, ast.ImportFrom):
        package = (node.module or "").partition(".")[0]
        return package in PACKAGES or (package in {"os", "posix"} and bool(NAMES & {name.name for name in node.names}))
    if isinstance(node, ast.Import):
        return bool(PACKAGES & {name.name.partition(".")[0] for name in node.names})
    return False


def files() -> Iterator[Path]:
    yield HOME / "scheduler.py"
    for folder in OURS:
        yield from (HOME / folder).rglob("*.py")


def test_only_the_settings_read_the_environment():
    found = {str(path.relative_to(HOME)) for path in files() if touches(path)}

    assert found - ALLOWED.keys() == set(), "read it through backroom.settings, or name the reason in this test"
    assert {name for name in ALLOWED if (HOME / name).exists()} - found == set(), "these need no exception any more"


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.environ['X']",
        "import os; os.getenv('X')",
        "from os import environ",
        "from os import getenv as g",
        "import dotenv",
        "from pydantic_settings import BaseSettings",
    ],
)
def test_every_way_to_read_it_is_seen(line, tmp_path):
    path = tmp_path / "file.py"
    path.write_text(line)

    assert touches(path)
