"""What there is, for whoever mistypes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backroom.domain.errors import Invalid
    from backroom.domain.job import Job
    from backroom.queue.ops import Queues


def jobs() -> dict[str, Job]:
    """The jobs on the shelves, by name."""
    from backroom.settings import settings  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.shelf import Shelves  # noqa: PLC0415

    return dict(Shelves(settings().shelves).jobs)


def check_queues(queues: Queues, names: Iterable[str]) -> None:
    """That there are such queues: ever used, or some job's.

    Raises:
        Invalid: There is no such queue; with names near it.
    """
    from backroom.words.near import unknown  # noqa: PLC0415

    there = set(queues.depths()) | {job.queue for job in jobs().values()}
    for name in names:
        if name not in there:
            raise unknown("QUEUE", "queue", name, there)


def not_dead(queues: Queues, id: str) -> Invalid:
    """The error about an id that is no dead letter's."""
    from backroom.domain.errors import Invalid  # noqa: PLC0415

    near = _near(id, queues)
    return Invalid(
        "ID", f"there is no dead letter {id}", f"did you mean {near}?" if near else "`backroom dead ls` lists them"
    )


def no_message(queues: Queues, id: str) -> Invalid:
    """The error about an id that is no message's."""
    from backroom.domain.errors import Invalid  # noqa: PLC0415

    near = _near(id, queues)
    right = f"did you mean {near}?" if near else "never sent, or over for longer than its end is remembered"
    return Invalid("ID", f"there is no message {id}", right)


def _near(id: str, queues: Queues) -> str:
    from difflib import get_close_matches  # noqa: PLC0415

    dead = queues.dead_ids()
    begins = [one for one in dead if id and one.startswith(id)]
    return " or ".join((begins or get_close_matches(id[:80], dead, cutoff=0.8))[:3])
