"""What a job works with: the time, ids, questions, changes, and the work it hands on.

A job receives all of it as its second argument and reaches for nothing else, so a test can give it a world of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from backroom.domain.errors import Cancel, Permanent, Snooze, StoreAway
from backroom.domain.job import Message
from backroom.domain.letter import Channel
from backroom.domain.limits import Limit, Rate
from backroom.domain.trace import following

if TYPE_CHECKING:
    from backroom.domain.rule import Rule, Sight
    from backroom.store.read import Reader
    from backroom.store.write import Writer
    from backroom.words import Words


class Unit(Protocol):
    """A transaction for one application."""

    @property
    def read(self) -> Reader:
        """Its questions."""
        ...

    @property
    def write(self) -> Writer:
        """Its changes."""
        ...

    def commit(self) -> None:
        """Make what was written last."""
        ...

    def close(self) -> None:
        """Forget what was not committed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HandOn:
    """Work for later, held until what it follows from is committed.

    Attributes:
        message: What is asked.
        id: The message's id. The same id again does nothing while the first message waits, runs or lies dead, and for
            ten minutes after it is done.
        delay: How long it waits first.
        once: How long after it was sent the same id again does nothing, if that is longer.
        trace: The `traceparent` that it goes on with, or an empty string.
    """

    message: Message
    id: str
    delay: timedelta
    once: timedelta
    trace: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """What is the same for every job of a process.

    Attributes:
        now: The time, in UTC.
        new_id: A new UUIDv7 as text.
        chance: A random number in [0, 1).
        unit: A transaction for an application, not yet opened.
        apps: The ids of all applications.
        house_app: The application whose administrators hear about the machines.
        hand_on: Put work on the queue.
        answer: Tell somebody who waits at the door what became of a message.
        channels: The carrier that serves each medium.
        words: The notification types and their templates.
        rules: The alert rules by name.
        sight: What a rule may look at, for one application.
        stopping: Whether this process has been asked to stop.
        pause: Wait a moment, or less when asked to stop.
        cancelled: Whether somebody wants a message that is being worked on cancelled.
        progress: Say how far a message's job is.
        admit: Count one start more for a limit; None if granted, otherwise when to ask again.
    """

    now: Callable[[], datetime]
    new_id: Callable[[], str]
    chance: Callable[[], float]
    unit: Callable[[str], Unit]
    apps: Callable[[], Sequence[str]]
    house_app: Callable[[], str | None]
    hand_on: Callable[[Sequence[HandOn]], None]
    answer: Callable[[str, Mapping[str, Any]], None]
    channels: Mapping[str, Channel]
    words: Words
    rules: Mapping[str, Rule]
    sight: Callable[[Tools, Rule], Sight]
    stopping: Callable[[], bool]
    pause: Callable[[timedelta], None]
    cancelled: Callable[[str], bool]
    progress: Callable[[str, float, str], None]
    admit: Callable[[str, Rate], timedelta | None]


class Tools:
    """One job's tools. What it writes, hands on and answers happens when it ends well, or when it says `commit`.

    Args:
        house: What is the same for every job.
        app: The application the job acts for, or an empty string for the clock's own work.
        message_id: The message that is being worked on; for a batch, its first.
        awaited: Those messages whose outcome somebody waits for.
        trace: The `traceparent` of the job, and so of all that it hands on; empty for none.
    """

    def __init__(
        self,
        house: House,
        *,
        app: str,
        message_id: str,
        awaited: frozenset[str] = frozenset(),
        trace: str = "",
    ) -> None:
        self._house = house
        self._awaited = awaited
        self._trace = trace
        self._unit: Unit | None = None
        self._later: list[HandOn] = []
        self._answers: list[tuple[str, Mapping[str, Any]]] = []
        self.app = app
        self.message_id = message_id

    # Time, ids and chance

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._house.now()

    def new_id(self) -> str:
        """A new UUIDv7 as text: unique, and ordered by time."""
        return self._house.new_id()

    def chance(self) -> float:
        """A random number in [0, 1)."""
        return self._house.chance()

    # The memory

    @property
    def read(self) -> Reader:
        """The application's questions."""
        return self._open().read

    @property
    def write(self) -> Writer:
        """The application's changes."""
        return self._open().write

    def commit(self) -> None:
        """Make what was written last, then hand on what follows from it, then answer who waits for it.

        Raises:
            StoreAway: PostgreSQL does not answer. Nothing is handed on.
            QueueAway: Valkey does not answer. What was written stays; the job comes again and must find it.
        """
        if self._unit is not None:
            self._unit.commit()
        later, self._later = self._later, []
        answers, self._answers = self._answers, []
        if later:
            self._house.hand_on(later)
        for message, outcome in answers:
            self._house.answer(message, outcome)

    def insist(self, change: Callable[[], None], *, within: timedelta = timedelta(seconds=60)) -> None:
        """Make a change that records what has already happened outside, and commit it.

        While PostgreSQL is away it is tried again: what the carrier said must not be forgotten because of that.

        Args:
            change: Writes with these tools; may be called several times.
            within: When to give up.

        Raises:
            StoreAway: PostgreSQL was away for all that time.
        """
        until = self.now() + within
        while True:
            try:
                change()
                self.commit()
            except StoreAway:
                self._forget_unit()
                if self.now() >= until or self._house.stopping():
                    raise
                self._house.pause(timedelta(milliseconds=250))
            else:
                return

    def close(self) -> None:
        """Forget what was not committed, and what would have followed from it."""
        self._later.clear()
        self._answers.clear()
        self._forget_unit()

    # The queue

    def later(
        self, message: Message, *, id: str = "", delay: timedelta = timedelta(0), once: timedelta = timedelta(0)
    ) -> None:
        """Hand work on. It is held until the write commits, and dropped if it does not. See `HandOn` for the rest."""
        trace = str(following(self._trace)) if self._trace else ""
        self._later.append(HandOn(message=message, id=id or self.new_id(), delay=delay, once=once, trace=trace))

    def answer(self, message: str, outcome: Mapping[str, Any]) -> None:
        """Tell whoever waits at the door what became of a message. Held until the write commits.

        Args:
            message: The message's id.
            outcome: `status` (as HTTP knows it), and perhaps `etag`, `body` and `problem`.
        """
        if message in self._awaited:
            self._answers.append((message, outcome))

    def breathe(self) -> None:
        """Say, between two steps of long work, that it may be stopped here. What was not committed is forgotten.

        Raises:
            Cancel: Somebody wants this job cancelled.
            Snooze: This worker stops; the job goes on elsewhere, from its beginning.
        """
        if self._house.cancelled(self.message_id):
            raise Cancel("somebody asked for it")
        if self._house.stopping():
            raise Snooze(timedelta(0), "this worker stops")

    def progress(self, share: float, note: str = "") -> None:
        """Say how far this job is. Cheap: what comes more often than once a second is dropped.

        Args:
            share: 0 to 1.
            note: A few words for whoever watches.
        """
        self._house.progress(self.message_id, share, note)

    def within(self, limit: Limit, *values: str) -> None:
        """Count one start more for a limit that is known only while the job runs, such as an account's at a provider.

        Args:
            limit: One with a rate. What runs at once is limited where the job is declared, for it ends with the job.
            values: What has a limit of its own.

        Raises:
            Snooze: It is reached; the job comes back when there is room, and no attempt is counted.
        """
        if limit.rate is None or limit.concurrent:
            raise TypeError(f"the limit {limit.name} needs a rate and nothing else")
        after = self._house.admit("/".join([limit.name, *values]), limit.rate)
        if after is not None:
            raise Snooze(after, f"the limit {limit.name} is reached")

    # The rest of the house

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The carrier that serves each medium."""
        return self._house.channels

    @property
    def words(self) -> Words:
        """The notification types and their templates."""
        return self._house.words

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The alert rules by name."""
        return self._house.rules

    def sight(self, rule: Rule) -> Sight:
        """What a rule may look at, for this job's application."""
        return self._house.sight(self, rule)

    def house_app(self) -> str | None:
        """The application whose administrators hear about the machines, or None before there is one."""
        return self._house.house_app()

    def each_app(self) -> Iterator[Tools]:
        """Tools for one application after another; each one's work is committed before the next begins.

        Stops early when this process is asked to stop: the next tick goes on.
        """
        for app in self._house.apps():
            if self._house.stopping():
                return
            tools = Tools(self._house, app=app, message_id=self.message_id, trace=self._trace)
            try:
                yield tools
                tools.commit()
            finally:
                tools.close()

    def _forget_unit(self) -> None:
        if self._unit is not None:
            self._unit.close()

    def _open(self) -> Unit:
        if not self.app:
            raise Permanent("it acts for no application: a job of the clock goes through each_app()")
        if self._unit is None:
            self._unit = self._house.unit(self.app)
        return self._unit
