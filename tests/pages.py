"""Reads the blocks of a Markdown page, and runs a page as its reader would.

What stands after the language in a block's first line says what happens to it (CONTRIBUTING.md explains it to writers):

- `sh run`: given to bash, in a copy of the tree. `make up` starts a house there, or starts it again. Variables live on.
- `sh run until`: again and again, until what it prints is what the output block below shows.
- `python run`: given to Python.
- `jinja file=templates/x/y.jinja`: written to that file.
- `text output`, `json output`: what the block above prints. `...` stands for anything; ids, times and keys may differ.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.house import free_port, until
from tests.scratch import HOME, environ_for, scratch_copy

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=ticks)[ ]*$", re.DOTALL | re.MULTILINE)
OPEN = "Ctrl-C stops everything"
WITHIN_SECONDS = 60
LOOK_AGAIN_SECONDS = 0.5
DOOR = "127.0.0.1:8000"
DIFFERS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "TIME"),
    (re.compile(r"^date: .*$", re.MULTILINE), "date: DATE"),
    (re.compile(r"^content-length: \d+$", re.MULTILINE), "content-length: N"),
    (re.compile(r"\bbr_[a-z]+_[\w-]+"), "KEY"),
    (re.compile(r"\beyJ[\w.-]+"), "TOKEN"),
    (re.compile(r'"provider_id": ?"[^"]+"'), '"provider_id": "PROVIDER"'),
)
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block: where it stands, its language, what else its first line says, and what is in it."""

    place: str
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str:
        return next((word.partition("=")[2] for word in self.words if word.startswith("file=")), "")


def pages() -> list[Path]:
    """Every page of ours."""
    return sorted([*HOME.glob("*.md"), *(HOME / "docs").rglob("*.md")])


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page."""
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        language, *words = found["info"].split() or [""]
        place = f"{page.relative_to(HOME)}:{text.count(chr(10), 0, found.start()) + 1}"
        yield Block(place=place, language=language, words=tuple(words), text=found["text"])


class Reader:
    """Somebody who follows a page, in a folder and with a house of their own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self._folder = scratch_copy(folder)
        shutil.copy2(HOME / "Procfile", folder)
        (folder / ".venv").symlink_to(sys.prefix)
        self._port = free_port()
        # As after `. .venv/bin/activate`.
        path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
        self._environ = environ_for(folder, {"PATH": path, "PORT": str(self._port), **environ})
        self._variables = folder / ".variables"
        self._variables.touch()
        self._up: subprocess.Popen[bytes] | None = None

    def follow(self, page: Path) -> None:
        """Do what the page says, and compare what it shows."""
        found = list(blocks(page))
        for block, below in zip(found, [*found[1:], None], strict=True):
            shown = below if below and "output" in below.words else None
            if block.file:
                path = self._folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._here(block.text), "utf-8")
            elif "run" in block.words:
                self._do(block, shown)

    def letters(self) -> list[dict[str, Any]]:
        """What the house's simulator has got."""
        address = json.loads((self._folder / ".backroom" / "simulator" / "address.json").read_text("utf-8"))
        found: list[dict[str, Any]] = httpx.get(f"{address['url']}/api/letters", timeout=10).json()["letters"]
        return found

    def leave(self) -> None:
        """Stop the house as Ctrl-C does."""
        if self._up and self._up.poll() is None:
            self._up.send_signal(signal.SIGINT)
            try:
                self._up.wait(WITHIN_SECONDS)
            finally:
                self._up.kill()

    def _do(self, block: Block, shown: Block | None) -> None:
        deadline = time.monotonic() + WITHIN_SECONDS
        while True:
            printed = self._start_house() if block.text.strip() == "make up" else self._run(block)
            problem = self._difference(shown, printed) if shown else ""
            if not problem:
                return
            if "until" not in block.words or time.monotonic() > deadline:
                raise AssertionError(problem)
            time.sleep(LOOK_AGAIN_SECONDS)

    def _run(self, block: Block) -> str:
        program = self._here(block.text)
        if block.language == "python":
            command = [sys.executable, "-c", program]
        else:
            kept = self._variables
            command = ["bash", "-c", f"set -aeu -o pipefail; . '{kept}'\n{program}\nexport -p >'{kept}'"]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WITHIN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.place} ends with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _start_house(self) -> str:
        self.leave()
        log = self._folder / ".up.log"
        with log.open("wb") as said:
            command = [sys.executable, "-m", "backroom", "up"]
            self._up = subprocess.Popen(
                command, cwd=self._folder, env=self._environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        until(
            lambda: OPEN in log.read_text("utf-8") or self._up.poll() is not None,
            within=90,
            every=0.1,
            what="the house opens",
        )
        printed = log.read_text("utf-8")
        assert self._up.poll() is None, printed
        # What the processes log from then on belongs to no page.
        return printed[: printed.index(OPEN)] + printed[printed.index(OPEN) :].partition("\n")[0] + "\n"

    def _difference(self, shown: Block, printed: str) -> str:
        want, got = masked(self._here(shown.text)), masked(printed)
        checker = doctest.OutputChecker()
        if checker.check_output(want, got, LOOSELY):
            return ""
        return f"{shown.place} shows something else\n" + checker.output_difference(
            doctest.Example("", want), got, LOOSELY
        )

    def _here(self, text: str) -> str:
        return text.replace(DOOR, f"127.0.0.1:{self._port}")


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    text = text.replace("\r\n", "\n")
    for differs, name in DIFFERS:
        text = differs.sub(name, text)
    return text if text.endswith("\n") else text + "\n"
