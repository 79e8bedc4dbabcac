"""Runs the demo from its first order to its last reading."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from backroom.cli._demo_alerts import burst_of_logins, memory_alert
from backroom.cli._demo_door import Door
from backroom.cli._demo_house import House
from backroom.cli._demo_insights import digest, insights, recommendations
from backroom.cli._demo_orders import Left, read_names, read_orders
from backroom.cli._demo_parts import Part, kept_orders
from backroom.cli._demo_people import ADMINISTRATOR, administrator
from backroom.cli._demo_play import Play
from backroom.cli._demo_sessions import Sessions
from backroom.cli._demo_settling import Settling, Straggler
from backroom.cli._demo_shop import Shop
from backroom.cli._demo_tally import Tally
from backroom.domain.errors import BackroomError

PAINT_EVERY = timedelta(milliseconds=200)
# Where nothing can be painted over, as in a log.
SAY_EVERY = timedelta(seconds=10)
ASKED_FOR_TASTES = 20
# A file with fewer orders may hold nothing that goes together.
FEWEST_FOR_TASTES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is played.

    Attributes:
        orders: A file of orders, or None for a shop that is made up.
        skus: A file of descriptions.
        limit: How many orders; 0 for all of a file.
        users: How many customers the made-up shop has.
        seed: Which made-up shop.
        speed_up: How much faster than the file's own times; 0 for as fast as possible.
        fresh: Whether orders that were sent before are sent again.
        patience: How long to wait for the final states once everything is accepted.
    """

    orders: Path | None = None
    skus: Path | None = None
    limit: int = 0
    users: int = 300
    seed: int = 1
    speed_up: float = 0.0
    fresh: bool = False
    patience: timedelta = timedelta(minutes=5)


@dataclass(kw_only=True)
class Outcome:
    """What came of it; everything about notifications and parts was read from the API."""

    orders: int = 0
    accepted: int = 0
    again: int = 0
    events: int = 0
    waited: int = 0
    tally: Tally = field(default_factory=Tally)
    stragglers: Sequence[Straggler] = ()
    parts: list[Part] = field(default_factory=list)
    left: Left = field(default_factory=Left)
    turned_away: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    sending_took: float = 0.0
    took: float = 0.0
    stopped: bool = False

    @property
    def good(self) -> bool:
        """Whether everything accepted is settled, nobody was a stranger, and every part was shown."""
        settled = bool(self.accepted) and not self.stragglers and not self.tally.strangers
        return settled and all(part.shown is not False for part in self.parts)


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="cyan")


def run(plan: Plan, house: House, console: Console) -> Outcome:
    """Play, wait, read back.

    Raises:
        Invalid: A file is not what it should be.
        Shut: The door stayed shut.
        KeyboardInterrupt: Somebody asked twice to stop.
    """
    try:
        return asyncio.run(_run(plan, house, console))
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
    except ExceptionGroup as group:
        raise _first(group) from group


async def _run(plan: Plan, house: House, console: Console) -> Outcome:
    began, outcome, stop = time.monotonic(), Outcome(), asyncio.Event()
    with _stoppable(stop, console):
        async with Door.open(house.door, key=house.key) as door:
            settling, sessions = Settling(door), Sessions(door)
            run = uuid.uuid4().hex if plan.fresh else ""
            play = Play(door, settling=settling, sessions=sessions, magical=not house.real, run=run, stop=stop)
            await door.ask("PUT", f"/v1/users/{ADMINISTRATOR}", administrator())
            outcome.sending_took = await _play(plan, play, settling, left=outcome.left, stop=stop, console=console)
            outcome.stragglers = await settling.stragglers()
            outcome.tally = settling.tally
            if not stop.is_set():
                with console.status("The other parts …") as status:
                    async for part in _parts(door, play, sessions, browsed=plan.orders is None):
                        outcome.parts.append(part)
                        status.update(f"{part.name}: {part.says}")
                        if stop.is_set():
                            break
            outcome.waited = door.waited
    outcome.orders, outcome.accepted, outcome.again = play.orders, settling.accepted, play.again
    outcome.events, outcome.turned_away, outcome.cut = play.events, play.turned_away, play.cut
    outcome.stopped, outcome.took = stop.is_set(), time.monotonic() - began
    return outcome


async def _play(
    plan: Plan, play: Play, settling: Settling, *, left: Left, stop: asyncio.Event, console: Console
) -> float:
    """Send everything, and wait until it has settled; returns how many seconds the sending took."""
    began, sending = time.monotonic(), asyncio.Event()
    sending.set()
    watch = asyncio.create_task(settling.watch(sending))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        painter = asyncio.create_task(_paint(progress, settling, sending, total=plan.limit or None))
        try:
            if plan.orders is None:
                await play.open_shop(
                    Shop(seed=plan.seed, users=plan.users, orders=plan.limit, day=_yesterday()).visits()
                )
            else:
                names = read_names(plan.skus) if plan.skus else {}
                orders = read_orders(plan.orders, names=names, left=left)
                await play.replay(itertools.islice(orders, plan.limit or None), speed_up=plan.speed_up)
            took = time.monotonic() - began
            sending.clear()
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait(
                [watch, stopped], timeout=plan.patience.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
            stopped.cancel()
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            painter.cancel()
            await asyncio.wait([watch, painter])
    return took


async def _paint(progress: Progress, settling: Settling, sending: asyncio.Event, *, total: int | None) -> None:
    accepted, settled = progress.add_task("Accepted", total=total), progress.add_task("Settled ", total=total)
    console, said = progress.console, time.monotonic()
    try:
        while True:
            most = total if sending.is_set() else settling.accepted
            progress.update(accepted, completed=settling.accepted, total=most)
            progress.update(settled, completed=settling.accepted - settling.open, total=most)
            if not console.is_terminal and time.monotonic() > said + SAY_EVERY.total_seconds():
                said = time.monotonic()
                console.print(f"{settling.accepted:,} accepted, {settling.accepted - settling.open:,} settled")
            await asyncio.sleep(PAINT_EVERY.total_seconds())
    finally:
        for task, done in ((accepted, settling.accepted), (settled, settling.accepted - settling.open)):
            progress.update(task, completed=done, total=settling.accepted)


async def _parts(door: Door, play: Play, sessions: Sessions, *, browsed: bool) -> AsyncIterator[Part]:
    yield await burst_of_logins(door)
    yield await memory_alert(door)
    for part in await insights(door, browsed=browsed):
        yield part
    customers = [user for user in play.records if user.startswith("customer-")]
    # Those with most orders have most to go by.
    customers.sort(key=lambda user: -len(play.records[user]))
    enough = play.orders >= FEWEST_FOR_TASTES or browsed
    part, user = await recommendations(door, customers[:ASKED_FOR_TASTES], enough=enough)
    yield part
    yield await digest(door, user, enough=enough)
    yield await kept_orders(door, play.records)
    wrong = await sessions.resume()
    yield Part(
        name="Sessions",
        shown=bool(sessions.opened) and not wrong,
        says=f"{sessions.resumed:,} of {sessions.opened:,} found again as they were left"
        + (f"; {wrong[0]}" if wrong else ""),
        where="GET /v1/sessions/current",
    )


def _yesterday() -> datetime:
    """Midnight at its start: a day that is over, and the same one however often the demo runs today."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


@contextmanager
def _stoppable(stop: asyncio.Event, console: Console) -> Iterator[None]:
    """Asked once: begin nothing new, and say what there is. Asked twice: leave."""
    loop, ours = asyncio.get_running_loop(), asyncio.current_task()
    assert ours is not None

    def asked() -> None:
        if stop.is_set():
            ours.cancel()
        else:
            stop.set()
            console.print("Stopping: nothing more is sent. Once more to leave at once.", style="yellow")

    for order in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(order, asked)
    try:
        yield
    finally:
        for order in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(order)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a reader can do something with."""
    for error in group.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, BackroomError):
            return found
    return group
