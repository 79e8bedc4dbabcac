"""`backroom jobs`: what can be asked, and asking it by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from backroom.domain.job import Job, Message
    from backroom.queue.ops import Queues

POLL = timedelta(milliseconds=100)
OVER = {"done", "dead", "cancelled", "expired", "unknown"}


def commands(app: typer.Typer) -> None:
    """Add `jobs`."""
    jobs = typer.Typer(help="What can be asked, and asking it by hand.", no_args_is_help=True)
    jobs.command("ls")(ls)
    jobs.command("run")(run)
    app.add_typer(jobs, name="jobs")


def ls() -> None:
    """List the jobs with the fields of their messages: `backroom jobs ls`."""
    import msgspec  # noqa: PLC0415 - slow, and not for `--help`

    from backroom.cli._table import show, table  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415
    from backroom.shelf import Shelves  # noqa: PLC0415

    found = sorted(Shelves(settings().shelves).jobs.items())
    rows = (
        (name, " ".join(f.name + ("" if f.required else "?") for f in msgspec.structs.fields(job.message)), job.about)
        for name, job in found
    )
    show(table("Jobs", ("job", "message", "about"), rows))


def run(
    name: Annotated[str, typer.Argument(help="The job's name.")],
    *,
    message: Annotated[str, typer.Option(help="What is asked, as JSON.")] = "{}",
    application: Annotated[str, typer.Option("--app", help="For which application, by its name.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Say what became of it; exit with 1 if it failed.")] = False,
    within: Annotated[int, typer.Option(min=1, max=3600, help="How many seconds to wait.")] = 60,
) -> None:
    """Put one message on the queue and print its id.

    `backroom jobs run delivery.rescue --message '{"limit": 10}' --wait`

    A running worker does the job; here it is only asked for.
    """
    import uuid_utils  # noqa: PLC0415 - slow, and not for `--help`

    from backroom.cli._settings import find_app, house_settings, need_postgres, open_queue  # noqa: PLC0415
    from backroom.domain.trace import begin  # noqa: PLC0415
    from backroom.queue.ops import Queues  # noqa: PLC0415
    from backroom.queue.post import post_for  # noqa: PLC0415
    from backroom.queue.sender import Sender  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415
    from backroom.shelf import Shelves  # noqa: PLC0415
    from backroom.words.near import unknown  # noqa: PLC0415

    shelf = Shelves(settings().shelves).jobs
    if name not in shelf:
        raise unknown("NAME", "job", name, shelf)
    app = {"app": find_app(need_postgres(house_settings()), application)} if application else {}
    asked = typed(shelf[name], message, more=app)
    with open_queue() as (given, client):
        id = str(uuid_utils.uuid7())
        Sender(client, prefix=given.key_prefix).send([post_for(shelf[name], asked, id=id, trace=str(begin()))])
        typer.echo(id)
        if wait:
            queues = Queues(client, prefix=given.key_prefix)
            raise typer.Exit(_say_outcome(queues, id, within=timedelta(seconds=within)))


def typed(job: Job, text: str, *, more: Mapping[str, Any]) -> Message:
    """The message that a text is.

    Raises:
        Invalid: It is not JSON, or does not fit the job.
    """
    import msgspec  # noqa: PLC0415

    from backroom.domain.errors import Invalid  # noqa: PLC0415
    from backroom.words.near import unknown  # noqa: PLC0415

    try:
        told = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid("--message", f"is not JSON: {error}", """such as '{"limit": 10}'""") from error
    if not isinstance(told, dict):
        raise Invalid("--message", "is not a JSON object", """such as '{"limit": 10}'""")
    fields = {field.name for field in msgspec.structs.fields(job.message)}
    for name in told:
        if name not in fields:
            raise unknown(f"/{name}", f"field of {job.name}", name, fields)
    try:
        return msgspec.convert({**told, **(more if "app" in fields else {})}, job.message, strict=False)
    except msgspec.ValidationError as error:
        hint = "--app names the application" if "app" in fields and "app" not in {*told, *more} else ""
        raise Invalid("--message", f"does not fit {job.name}: {error}", hint) from error


def _say_outcome(queues: Queues, id: str, *, within: timedelta) -> int:
    deadline = time.monotonic() + within.total_seconds()
    while (state := queues.find(id)[0]) not in OVER and time.monotonic() < deadline:
        time.sleep(POLL.total_seconds())
    if state == "dead":
        dead = queues.dead_letter(id)
        typer.secho(f"dead: {dead.reason if dead else ''}", fg=typer.colors.RED)
    elif state in OVER:
        typer.echo(state)
    else:
        # A worker puts off what it does not know: a later one may.
        hint = "does a worker run, and was it started after the job's file was written? It reads the shelves then"
        typer.secho(f"still {state} after {within.total_seconds():.0f} s: {hint}", fg=typer.colors.YELLOW)
    return int(state != "done")
