"""`python -m benchmarks.peers`: makes the peers' environments, or pins what they hold."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from benchmarks.peers._shelf import Entry, entries

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
UV = (sys.executable, "-m", "uv")
PYTHON = "3.11"
WITHIN_SECONDS = 300
AT_A_TIME = 4


@app.command()
def install(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all of them if none is named.")] = None,
) -> None:
    """Make the environment of each peer, unless it has one. One that fails is told; the others are made."""
    wanted = [entry for entry in _chosen(names) if not entry.installed]
    with ThreadPoolExecutor(AT_A_TIME) as crew:
        for entry, wrong in zip(wanted, crew.map(_install, wanted), strict=True):
            typer.echo(f"{entry.name}: {wrong or 'installed'}", err=True)


@app.command()
def pin(names: Annotated[list[str] | None, typer.Argument(help="Which; all of them if none is named.")] = None) -> None:
    """Write the newest versions that go together into the peers' files of pins."""
    for entry in _chosen(names):
        subprocess.run(  # noqa: S603 - our own requirements
            [
                *(*UV, "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON, "--upgrade"),
                *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
                *("-", "--output-file", str(entry.pins)),
            ],
            input="\n".join(entry.requires),
            stdout=subprocess.DEVNULL,
            text=True,
            check=True,
        )


def _chosen(names: list[str] | None) -> list[Entry]:
    known = {entry.name: entry for entry in entries() if entry.requires}
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"there is no peer {name!r} to install, but {', '.join(known)}")
    return [known[name] for name in names or known]


def _install(entry: Entry) -> str | None:
    """Why it could not be installed, if it could not."""
    folder = entry.python.parent.parent
    try:
        for command in (
            ["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "--quiet", "--python", str(entry.python), "--requirement", str(entry.pins)],
        ):
            subprocess.run(  # noqa: S603 - our own pins
                [*UV, *command], check=True, capture_output=True, text=True, timeout=WITHIN_SECONDS
            )
    except (OSError, subprocess.SubprocessError) as error:
        return f"could not be installed: {getattr(error, 'stderr', None) or error}"
    entry.stamp.write_bytes(entry.pins.read_bytes())
    return None


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.peers")
