"""The benchmarks stand beside the house: nothing of the house leans on them, and their page names them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import SHELF, names

HOME = Path(__file__).parent.parent.parent
HOUSE = ("alerts", "api_shim", "backroom", "channels", "jobs", "workers")


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_nothing_of_the_house_imports_the_benchmarks():
    files = [HOME / "scheduler.py", *(path for part in HOUSE for path in (HOME / part).rglob("*.py"))]

    assert [path for path in files if "benchmarks" in imported(path)] == []


def test_the_benchmarks_import_no_tests():
    assert [path for path in SHELF.rglob("*.py") if "tests" in imported(path)] == []


@pytest.mark.parametrize("name", names())
def test_each_benchmark_is_explained(name: str):
    assert f"\n### `{name}`\n" in (SHELF / "README.md").read_text()
