"""Reads a Procfile: a name and a command on each line."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from backroom.domain.errors import CannotStart

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,32}):\s*(?P<command>\S.*)")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<bare>\w+))")
_SHELL = frozenset("|&;<>`")


def read(path: Path) -> dict[str, str]:
    """The commands by name, in the file's order.

    Raises:
        CannotStart: There is no such file, or a line of it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CannotStart(
            f"there is no {path.absolute()}", mend="run this in the project's folder, or pass --procfile"
        ) from error
    found: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match["name"] in found:
            raise CannotStart(
                f"{path}, line {number}: {line!r}", mend="write one `name: command` a line, each name once"
            )
        found[match["name"]] = match["command"]
    if not found:
        raise CannotStart(f"{path} names no process", mend="write one `name: command` a line")
    return found


def words(command: str, environ: Mapping[str, str]) -> list[str]:
    """The command's words with their variables filled in, the program with its full path.

    The words are split before they are filled in, so that a value with spaces stays one word.

    Raises:
        CannotStart: It needs a shell, or there is no such program.
    """
    try:
        split = shlex.split(command)
    except ValueError as error:
        raise CannotStart(f"Procfile: {command!r}: {error}", mend="close the quotation mark") from error
    if any(_SHELL & set(word) for word in split):
        raise CannotStart(f"Procfile: {command!r} needs a shell", mend="move it into a script, and name the script")
    filled = [_VARIABLE.sub(lambda match: environ.get(match["braced"] or match["bare"], ""), word) for word in split]
    program = shutil.which(filled[0], path=environ.get("PATH"))
    if program is None:
        raise CannotStart(f"Procfile: there is no program {filled[0]!r}", mend="install it, or correct the Procfile")
    return [str(Path(program).absolute()), *filled[1:]]
