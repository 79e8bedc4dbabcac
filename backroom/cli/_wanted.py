"""Which dead letters are meant: by job, queue, application, reason and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backroom.queue.letters import Dead
    from backroom.queue.ops import Queues

Job = Annotated[str, typer.Option("--job", help="Of this job.")]
Queue = Annotated[str, typer.Option("--queue", help="That waited in this queue.")]
Reason = Annotated[str, typer.Option("--reason", help="Whose reason has this text in it, in any case.")]
App = Annotated[str, typer.Option("--app", help="Of this application: its name or id.")]
Since = Annotated[str, typer.Option("--since", help="Not older: 1h, or 2026-11-24T10:00Z.")]
Before = Annotated[str, typer.Option("--before", help="Older than this.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which ones are meant; what is empty is any.

    Attributes:
        job: Of which job.
        queue: In which queue they waited.
        reason: A text in their reason.
        app: The id of an application.
        since: The oldest.
        before: All are older.
    """

    job: str
    queue: str
    reason: str
    app: str
    since: datetime | None
    before: datetime | None

    def __bool__(self) -> bool:
        return any((self.job, self.queue, self.reason, self.app, self.since, self.before))

    def pages(self, queues: Queues, *, after: str = "") -> Iterator[list[Dead]]:
        """Those that are meant, newest first, a page at a time; a page may be empty."""
        for page in queues.dead_pages(since=self.since, before=self.before, after=after):
            yield [dead for dead in page if self._means(dead)]

    def _means(self, dead: Dead) -> bool:
        return (
            self.job in {"", dead.job}
            and self.queue in {"", dead.queue}
            and self.app in {"", dead.app}
            and self.reason.casefold() in dead.reason.casefold()
        )

    def check_names(self, queues: Queues) -> None:
        """Where nothing was found: perhaps because a name is mistyped.

        Raises:
            Invalid: There is no such job or queue.
        """
        from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
        from backroom.words.near import unknown  # noqa: PLC0415

        if self.job and self.job not in (there := _known.jobs()):
            raise unknown("--job", "job", self.job, there)
        if self.queue:
            _known.check_queues(queues, [self.queue])


def wanted(*, job: str, queue: str, reason: str, app: str, since: str, before: str) -> Wanted:
    """What the options say.

    Raises:
        Invalid: One of them is no time, or there is no such application.
    """
    from backroom.cli._span import moment  # noqa: PLC0415 - slow, and not for `--help`

    now = datetime.now(UTC)
    return Wanted(
        job=job,
        queue=queue,
        reason=reason,
        app=_app_id(app),
        since=moment("--since", since, now=now) if since else None,
        before=moment("--before", before, now=now) if before else None,
    )


def _app_id(app: str) -> str:
    import uuid  # noqa: PLC0415 - slow, and not for `--help`

    from backroom.cli._settings import find_app, house_settings, need_postgres  # noqa: PLC0415

    try:
        return str(uuid.UUID(app)) if app else ""
    except ValueError:
        return find_app(need_postgres(house_settings()), app)
