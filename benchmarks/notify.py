"""Notifications from the 202 at the front door to the carrier, through one web process and one worker process."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backroom.domain.delivery import FINAL
from benchmarks._notify_house import THREADS, House, Idle, open_house, watch_idle
from benchmarks.frame.figures import Figure, figure, waits
from benchmarks.frame.place import ROOT, machine, own_folder, until
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Check, Report
from benchmarks.frame.turns import Side, take_turns

TYPE = "order_shipped"
# What one notification of this type becomes for a reader with both contacts; the inbox is ours, the rest goes out.
DELIVERIES = 3
WELL = ("sent", "delivered")
LETTERS = 2
READERS = 40
CALLERS = 8
WARM_UP = 24
# Of what the flood has shown to be possible: queues are short there, so the wait is the work's own.
STEADY_SHARE = 0.25
SETTLED_WITHIN = timedelta(minutes=3)
LOOK_AGAIN = timedelta(milliseconds=200)
ANSWER = {"Prefer": "wait=10"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much each turn does.

    Attributes:
        flood: So many notifications at once.
        steady: For so long at an even pace.
        idle: For so long nothing.
    """

    flood: int
    steady: timedelta
    idle: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What became of the notifications of one turn.

    Attributes:
        accepted_rate: 202s per second.
        settled_rate: Notifications per second from the first acceptance to the end of the last delivery.
        waits: From acceptance to its end, for each delivery, in ms.
        states: How many deliveries ended how.
    """

    accepted_rate: float
    settled_rate: float
    waits: list[float]
    states: Counter[str]


WHOLE = Size(flood=400, steady=timedelta(seconds=12), idle=timedelta(seconds=10))
QUICK = Size(flood=80, steady=timedelta(seconds=3), idle=timedelta(seconds=4))


class Shop:
    """An application that sends notifications and asks what became of them."""

    def __init__(self, house: House, callers: ThreadPoolExecutor) -> None:
        self._house = house
        self._callers = callers
        self._example = json.loads((ROOT / "templates" / TYPE / "example.json").read_text("utf-8"))
        self._pace = 0.0
        self.sent = 0

    def meet_readers(self) -> None:
        """Every other one reads German."""

        def meet(number: int) -> None:
            contacts = {"email": f"reader{number}@example.com", "phone": f"+43660123{number:04}"}
            profile = {"locale": "de" if number % 2 else "en", "contacts": contacts}
            self._house.client.put(f"/v1/users/r{number}", json=profile, headers=ANSWER).raise_for_status()

        list(self._callers.map(meet, range(READERS)))

    def flood(self, count: int) -> Turn:
        """As fast as the callers can."""
        began = time.monotonic()
        ids = list(self._callers.map(self._send, range(count)))
        turn = self._read_back(ids, accepted_rate=count / (time.monotonic() - began))
        self._pace = STEADY_SHARE * turn.settled_rate
        return turn

    def steady(self, span: timedelta) -> Turn:
        """At a pace that leaves the worker room."""
        count = max(CALLERS, round(self._pace * span.total_seconds()))
        began = time.monotonic()

        def send_in_time(number: int) -> str:
            time.sleep(max(0.0, began + number / self._pace - time.monotonic()))
            return self._send(number)

        ids = list(self._callers.map(send_in_time, range(count)))
        return self._read_back(ids, accepted_rate=count / (time.monotonic() - began))

    def letters(self) -> tuple[int, int]:
        """How many letters the carriers took, and how many of them twice."""
        tally = self._house.simulator.summary()
        return tally["accepted"], tally["doubles"]

    def _send(self, number: int) -> str:
        message = {"type": TYPE, "to": [f"r{number % READERS}"], "data": self._example}
        answer = self._house.client.post("/v1/notifications", json=message).raise_for_status()
        id: str = answer.json()["id"]
        return id

    def _read_back(self, ids: Sequence[str], *, accepted_rate: float) -> Turn:
        self.sent += len(ids)
        # The simulator's own count, and seldom: asking should cost the house nothing. The times are the house's own.
        until(
            lambda: self.letters()[0] >= LETTERS * self.sent,
            within=SETTLED_WITHIN,
            what="every letter is at a carrier",
            every=LOOK_AGAIN,
        )
        found = list(self._callers.map(self._settled, ids))
        waited, ends = [], []
        for notification in found:
            accepted = _moment(notification["accepted_at"])
            for delivery in notification["deliveries"]:
                ended = _moment(delivery["finished_at"])
                ends.append(ended)
                waited.append((ended - accepted) / timedelta(milliseconds=1))
        first = min(_moment(notification["accepted_at"]) for notification in found)
        return Turn(
            accepted_rate=accepted_rate,
            settled_rate=len(ids) / (max(ends) - first).total_seconds(),
            waits=waited,
            states=Counter(delivery["state"] for notification in found for delivery in notification["deliveries"]),
        )

    def _settled(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def look() -> bool:
            found.update(self._house.client.get(f"/v1/notifications/{id}").raise_for_status().json())
            deliveries = found["deliveries"]
            return len(deliveries) == DELIVERIES and all(one["state"] in FINAL for one in deliveries)

        until(look, within=SETTLED_WITHIN, what="a notification is settled")
        return found


def measure(plan: Plan) -> Report:
    """A flood for the rate, an even stream for the wait, then nothing for what the house costs at rest."""
    size = QUICK if plan.quick else WHOLE
    setup = machine()
    with own_folder() as folder, ThreadPoolExecutor(CALLERS) as callers:
        plan.tell("opens a house")
        with open_house(folder) as house:
            shop = Shop(house, callers)
            shop.meet_readers()
            # The first letter of a worker loads templates and carriers' libraries.
            shop.flood(WARM_UP)
            round_of_both = Side(name="both", turn=lambda: (shop.flood(size.flood), shop.steady(size.steady)))
            turns = take_turns([round_of_both], plan)["both"]
            letters, doubles = shop.letters()
            plan.tell("rests")
            idle = watch_idle(house, span=size.idle)
            setup |= {
                "valkey": house.valkey,
                "appendfsync": "always",
                "web processes": 1,
                "worker processes": 1,
                "threads": THREADS,
                "type": f"{TYPE} (inbox, email, SMS)",
                "flood of": size.flood,
                "rounds": len(turns),
                "idle seconds": size.idle.total_seconds(),
                "load after": machine()["load before"],
            }
    return _report(turns, idle, setup=setup, letters=letters, doubles=doubles, sent=shop.sent)


def _report(
    turns: Sequence[tuple[Turn, Turn]],
    idle: Iterable[Idle],
    *,
    setup: dict[str, str | float],
    letters: int,
    doubles: int,
    sent: int,
) -> Report:
    floods, streams = [flood for flood, _ in turns], [stream for _, stream in turns]
    wait = "202 to the end of a delivery"
    all_states = sum((turn.states for turn in (*floods, *streams)), Counter[str]())
    return Report(
        bench="notify",
        setup=setup,
        figures=[
            _rate("accepted with 202", "flood", (turn.accepted_rate for turn in floods)),
            _rate("settled, all deliveries", "flood", (turn.settled_rate for turn in floods)),
            *waits(wait, side="flood", rounds=[turn.waits for turn in floods]),
            _rate("accepted with 202", "steady", (turn.accepted_rate for turn in streams)),
            *waits(wait, side="steady", rounds=[turn.waits for turn in streams]),
            *(one for part in idle for one in _rest(part)),
        ],
        checks=[
            Check.exactly(
                "deliveries that went well",
                sum(all_states[state] for state in WELL),
                all_states.total(),
                unit="deliveries",
            ),
            Check.exactly("letters at the carriers", letters, LETTERS * sent, unit="letters"),
            Check.exactly("letters sent twice", doubles, 0, unit="letters"),
        ],
    )


def _rate(name: str, side: str, values: Iterable[float]) -> Figure:
    return figure(name, side=side, unit="notifications/s", values=values)


def _rest(part: Idle) -> Iterator[Figure]:
    name = part.part if part.processes == 1 else f"{part.part} ({part.processes} processes)"
    yield figure("resident memory at rest", side=name, unit="MB", values=[part.memory])
    if part.proportional is not None:
        yield figure("proportional memory at rest", side=name, unit="MB", values=[part.proportional])
    yield figure("processor at rest", side=name, unit="% of a core", values=[part.cpu])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
