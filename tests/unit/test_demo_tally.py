"""What the demo adds up, how it asks the door, and what it takes for a real carrier."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from backroom.cli._demo_door import Answer, Door, TurnedAway
from backroom.cli._demo_settling import Settling
from backroom.cli._demo_show import Outcome
from backroom.cli._demo_tally import Tally, percentile
from backroom.shelf import Shelves, real_carriers

IDS = [f"01a20ad0-0000-7000-8000-{number:012d}" for number in range(1, 351)]


def delivery(state: str, **more: Any) -> dict[str, Any]:
    return {
        "channel": "email",
        "state": state,
        "attempts": 1,
        "reason": None,
        "finished_at": "2026-11-23T10:00:02Z",
        **more,
    }


def notification(id: str, *deliveries: dict[str, Any], state: str = "settled") -> dict[str, Any]:
    return {"id": id, "state": state, "accepted_at": "2026-11-23T10:00:00Z", "deliveries": list(deliveries)}


def door(answer: Callable[[str, str], Answer]) -> Door:
    return Door(lambda method, path, _content, _headers: answer(method, path), ThreadPoolExecutor(1))


def answer(status: int, document: Any = None, **headers: str) -> Answer:
    return Answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, msgspec.json.encode(document)
    )


def test_each_delivery_is_counted_once_in_its_state() -> None:
    tally = Tally()
    tally.add(notification(IDS[0], delivery("sent"), delivery("delivered", channel="inbox")))
    tally.add(notification(IDS[1], delivery("refused", reason="no such reader"), delivery("skipped", channel="sms")))
    tally.add(notification(IDS[2], delivery("sent", attempts=3, finished_at="2026-11-23T10:00:10Z"), state="settled"))

    email = tally.mediums["email"]
    assert (tally.settled, tally.deliveries) == (3, 5)
    assert email.states == {"sent": 2, "refused": 1}
    assert (email.retried, email.seconds, email.percentile(0.5)) == (1, [2, 2, 10], 2)
    assert email.reasons == {"refused: no such reader": 1}
    assert tally.mediums["sms"].seconds == [], "what was never tried took no time"
    assert tally.took == 10


def test_what_is_under_way_is_open() -> None:
    tally = Tally()
    tally.add(notification(IDS[0], delivery("retrying", finished_at=None, reason="500"), state="underway"))

    assert tally.settled == 0
    assert tally.mediums["email"].states == {"open": 1}


def test_a_reader_who_was_introduced_and_is_not_known_is_a_fault() -> None:
    outcome = Outcome(accepted=1)
    outcome.tally.add(notification(IDS[0], delivery("delivered")))
    assert outcome.good

    outcome.tally.add(notification(IDS[1], delivery("skipped", reason="unknown_user")))
    assert outcome.tally.strangers == 1
    assert not outcome.good


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([], 0.5) is None


def test_a_door_that_asks_for_patience_is_asked_again() -> None:
    answers = [answer(503, retry_after="0"), answer(429, retry_after="0")]
    patient = door(lambda *_: answers.pop(0) if answers else answer(202, {"id": "1"}))

    assert asyncio.run(patient.ask("POST", "/v1/notifications", {})).status == 202
    assert patient.waited == 2


def test_a_refusal_is_not_tried_again_and_names_the_field() -> None:
    asked = []
    problem = {"title": "A field is wrong", "errors": [{"field": "/to/0", "wrong": "is not a user"}]}

    def refuse(_method: str, path: str) -> Answer:
        asked.append(path)
        return answer(422, problem)

    with pytest.raises(TurnedAway, match="422: A field is wrong; /to/0: is not a user"):
        asyncio.run(door(refuse).ask("POST", "/v1/notifications", {}))
    assert len(asked) == 1


def paged(known: list[dict[str, Any]], asked: list[str] | None = None) -> Callable[[str, str], Answer]:
    def find(_method: str, path: str) -> Answer:
        url = urlsplit(path)
        if url.path != "/v1/notifications":
            found = [one for one in known if path.endswith(one["id"])]
            return answer(200, found[0]) if found else answer(404, {"title": "Not found"})
        query = dict(parse_qsl(url.query))
        if asked is not None:
            asked.append(query["after"])
        older = (one for one in known if one["id"] < query["after"])
        page = sorted(older, key=lambda one: one["id"], reverse=True)[: int(query["limit"])]
        return answer(200, {"notifications": page, "next": None})

    return find


def test_only_what_this_run_had_accepted_is_added_up() -> None:
    known = [notification(id, delivery("sent")) for id in IDS]
    settling = Settling(door(paged(known)))
    for id in IDS[::2]:
        settling.expect(id)
        settling.expect(id)  # a repetition of the same request

    asyncio.run(settling.look())

    assert (settling.accepted, settling.open, settling.tally.settled) == (175, 0, 175)


def test_a_look_costs_a_request_for_each_page() -> None:
    asked: list[str] = []
    settling = Settling(door(paged([notification(id, delivery("sent")) for id in IDS], asked)))
    for id in IDS:
        settling.expect(id)

    asyncio.run(settling.look(pages=1))

    assert settling.open == 250, "the oldest hundred first"
    assert len(asked) <= 2


def test_stragglers_are_told_with_what_they_wait_for_and_the_lost_as_lost() -> None:
    waiting = notification(IDS[1], delivery("retrying", finished_at=None, reason="server error"), state="underway")
    settling = Settling(door(paged([notification(IDS[0], delivery("sent")), waiting])))
    for id in IDS[:3]:
        settling.expect(id)

    asyncio.run(settling.look())
    stragglers = asyncio.run(settling.stragglers())

    assert [(one.id, one.state, one.waits_for) for one in stragglers] == [
        (IDS[1], "underway", "email retrying server error"),
        (IDS[2], "lost", "accepted, and not there"),
    ]
    assert settling.tally.settled == 1


def test_a_carrier_with_keys_is_real_and_one_without_is_not() -> None:
    keys = {"SMS_TWILIO_ACCOUNT_SID": f"AC{1:032x}", "SMS_TWILIO_AUTH_TOKEN": "t", "SMS_TWILIO_SENDER": "+15005550006"}

    assert real_carriers(Shelves(), {}) == ()
    assert real_carriers(Shelves(), keys) == ("sms_twilio",)
