"""A copy of the tree that a test may break, and processes that run in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parent.parent
# What tools, engines and builds leave there. Compiled files go along: a process that has none compiles the whole house.
LEFT = {".git", ".venv", "node_modules", "dist"}
HALF_WRITTEN = "*.pyc.*"
WITHIN_SECONDS = 120


def scratch_copy(folder: Path) -> Path:
    """The tree as it stands in the checkout, without what tools and running houses leave there."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in HOME.iterdir():
        if source.name in LEFT or source.name.startswith(".backroom") or source.name.endswith("_cache"):
            continue
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns(*LEFT, HALF_WRITTEN))
        else:
            shutil.copy2(source, folder / source.name)
    return folder


def run_in(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in the copy, which comes before anything installed."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environ_for(folder, environ),
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )


def python_in(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in the copy."""
    return run_in(folder, sys.executable, *arguments, **environ)


def environ_for(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """What a process in the copy gets: nothing of a developer's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(folder),
        # Wide enough that no table wraps a name.
        "COLUMNS": "250",
        "BACKROOM_HOME": str(folder / ".backroom"),
        **more,
    }
