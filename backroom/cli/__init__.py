"""The command `backroom`: each file in this folder brings its own commands.

A file whose name does not begin with an underscore has a function `commands(app: typer.Typer) -> None` that adds its
commands to `app`. The first word of a command is its file's name (`up.py` has `backroom up`, `dead_letters.py` brings
`backroom dead-letters`), so that only the file that is asked for is read; `backroom --help` reads them all. For both to
be quick, a file imports what is heavy inside its functions.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from backroom.domain.errors import BackroomError, Full, QueueAway, StoreAway

INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process."""
    try:
        build(sys.argv[1:])()
    except BackroomError as error:
        typer.secho(f"backroom: {error}", fg=typer.colors.RED, err=True)
        if mend := _mend(error):
            typer.secho(f"  To mend it: {mend}", fg=typer.colors.RED, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def build(words: Sequence[str] = ()) -> typer.Typer:
    """The application with the command that `words` begin with, or with all of them where they name none."""
    app = typer.Typer(
        name="backroom",
        help="The back room of a web application: background jobs and notifications behind a minimal HTTP door.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
        rich_markup_mode="markdown",
    )
    # A callback makes typer keep the command's name where there is one command only.
    app.callback()(lambda: None)
    files = [file.name for file in pkgutil.iter_modules(__path__) if not file.name.startswith("_")]
    asked = words[0].replace("-", "_") if words else ""
    for name in [asked] if asked in files else files:
        import_module(f"{__name__}.{name}").commands(app)
    return app


def _mend(error: BackroomError) -> str:
    """What to do about an error that does not say so itself."""
    if isinstance(error, QueueAway):
        return "see that Valkey runs where REDIS_URL says; `backroom doctor` asks it"
    if isinstance(error, StoreAway):
        return "see that PostgreSQL runs where DATABASE_URL says; `backroom doctor` asks it"
    if isinstance(error, Full) and error.why == "draining":
        return "`backroom queue resume` has it take messages in again"
    return ""
