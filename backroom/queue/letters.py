"""The dead letters: look at them, put them back on their queues, drop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backroom.domain.errors import Invalid
from backroom.queue.open import Ask, in_rows
from backroom.queue.wire import USUAL_LINE, Envelope, decode, encode, pack

MOST_LISTED = 1_000
# So many are looked at in one page, and put back or dropped in one call.
PAGE = 200
# So many bodies are read in one step, and so many bytes of them put back; the engine does nothing else meanwhile.
BODIES_AT_ONCE = 20
MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
# What is noted in a message while it is tried.
NOTED = {"attempt", "errors", "parked"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dead:
    """A dead letter.

    Attributes:
        id: The message.
        job: What was asked; empty where the body cannot be read.
        queue: Where it waited; empty where the body cannot be read.
        app: On whose behalf; empty for nobody's.
        reason: Why it died.
        at: When.
        attempts: How many attempts failed.
        body: The message as it was on the wire.
    """

    id: str
    job: str
    queue: str
    app: str
    reason: str
    at: datetime
    attempts: int
    body: bytes


class DeadLetters:
    """Every method raises `QueueAway` where Valkey does not answer."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def dead(self, limit: int = 100, after: str = "") -> list[Dead]:
        """The dead letters, newest first.

        Args:
            limit: How many at most.
            after: The id of the last one seen, to go on from there.

        Raises:
            Invalid: The last one seen is not dead any more.
        """
        there, *ids = self._ask("dead", max(1, min(limit, MOST_LISTED)), after, "", "-inf", "+inf")
        if not there:
            raise _left_since(after)
        return self._letters(ids)

    def dead_ids(self) -> list[str]:
        """The ids of the newest thousand."""
        return [id.decode() for id in self._ask("dead", MOST_LISTED, "", "", "-inf", "+inf")[1:]]

    def dead_pages(
        self, *, since: datetime | None = None, before: datetime | None = None, after: str = ""
    ) -> Iterator[list[Dead]]:
        """All dead letters of a time, newest first, a page at a time. Those of a page may be put back before the next.

        Args:
            since: The oldest that is wanted.
            before: All that is wanted is older.
            after: The id of the last one seen, to go on from there.

        Raises:
            Invalid: The last one seen is not dead any more.
        """
        oldest = "-inf" if since is None else str(_ms(since))
        newest = "+inf" if before is None else f"({_ms(before)}"
        at: int | str = ""
        while True:
            there, *ids = self._ask("dead", PAGE, after, at, oldest, newest)
            if not there:
                raise _left_since(after)
            page = self._letters(ids)
            if page:
                # By its time, too: it may be gone when the next page is asked for.
                after, at = page[-1].id, _ms(page[-1].at)
                yield page
            if len(ids) < PAGE or not page:
                return

    def dead_letter(self, id: str) -> Dead | None:
        """One of them; None where it is not dead."""
        return next(iter(self._letters([id.encode()])), None)

    def retry(self, id: str, message: object = None) -> bool:
        """Put a dead letter back on its queue with all its attempts before it; say whether it was there.

        Args:
            id: Which one.
            message: What is asked from now on; None for what was asked.

        Raises:
            Invalid: Its body cannot be read, so no queue would take it; or the new one cannot be sent.
        """
        dead = self.dead_letter(id)
        if dead is None:
            return False
        return self._revive([_revived(dead, message)]) == 1

    def retry_all(self, letters: Sequence[Dead]) -> tuple[int, list[str]]:
        """Put many back: how many were there, and the ids of those whose body cannot be read."""
        readable, broken = [], []
        for dead in letters:
            try:
                readable.append(_revived(dead))
            except Invalid:
                broken.append(dead.id)
        return self._revive(readable), broken

    def discard_dead(self, ids: Sequence[str]) -> int:
        """Drop dead letters in one step; say how many there were. What is not dead stays."""
        return sum(self._ask("discard", "dead", *ids)) if ids else 0

    def _letters(self, ids: Sequence[bytes]) -> list[Dead]:
        return [_dead(*row) for some in in_rows(ids, BODIES_AT_ONCE) for row in in_rows(self._ask("letters", *some), 4)]

    def _revive(self, messages: Sequence[Envelope]) -> int:
        revived, args, size = 0, list[str | bytes](), 0
        for one in messages:
            body = pack(one)
            args += [one.message_id, one.queue_name, one.options.get("line", USUAL_LINE), body]
            size += len(body)
            if size > MOST_BYTES_AT_ONCE:
                revived += sum(self._ask("revive", *args))
                args, size = [], 0
        return revived + (sum(self._ask("revive", *args)) if args else 0)


def _left_since(after: str) -> Invalid:
    return Invalid("after", f"there is no dead letter {after}", "it has left since: begin without it")


def _revived(dead: Dead, message: object = None) -> Envelope:
    found = decode(dead.body, id=dead.id)
    found.options = {name: value for name, value in found.options.items() if name not in NOTED}
    if message is not None:
        found.kwargs = {"message": message}
        encode(found)
    return found


def _dead(id: bytes, at: int, reason: bytes, body: bytes) -> Dead:
    job = queue = app = ""
    attempts = 0
    try:
        found = decode(body, id=id.decode())
    except Invalid:
        pass
    else:
        job, queue = found.actor_name, found.queue_name
        attempts = int(found.options.get("attempt", 0))
        asked = found.kwargs.get("message")
        app = str(asked.get("app", "")) if isinstance(asked, dict) else ""
    return Dead(
        id=id.decode(),
        job=job,
        queue=queue,
        app=app,
        reason=reason.decode(errors="replace"),
        at=datetime.fromtimestamp(at / 1000, tz=UTC),
        attempts=attempts,
        body=body,
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
