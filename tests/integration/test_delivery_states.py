"""What becomes of a delivery when its carrier, its worker or its words fail: real rows, a carrier of the test's own."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uuid_utils

from backroom import connect
from backroom.domain.alerting import ReportFinding
from backroom.domain.delivery import MENDED_WITHIN, SHORTEST_MENDING
from backroom.domain.errors import Cancel, Invalid, Misconfigured, Rejected, Snooze, TemplateFailed, Unreachable
from backroom.domain.letter import Letter, Receipt
from backroom.shelf import Shelves
from backroom.store.unit import Store
from backroom.tools import House, Tools
from backroom.words import Words
from jobs.delivery_attempt import AttemptDelivery, attempt_delivery
from jobs.delivery_rescue import FORGOTTEN_AFTER, RescueDeliveries, rescue_deliveries
from jobs.notification_send import SendNotification, send_notification
from tests.house import TestHouse


class Killed(BaseException):
    """The worker died here."""


class Carrier:
    """Answers as it was told to."""

    medium = "email"
    contact = "email"
    repeatable = False
    name = "scripted"

    def __init__(self, *answers: Receipt | BaseException) -> None:
        self.answers = list(answers)
        self.letters: list[Letter] = []

    def send(self, letter: Letter) -> Receipt:
        self.letters.append(letter)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class World:
    """A house whose queue is a list and whose time stands still until it is moved."""

    def __init__(self, house: TestHouse, carrier: Carrier) -> None:
        self.time = datetime.now(UTC)
        self.app = house.app.id
        self.handed_on: list = []
        self.carrier = carrier
        engine = connect.engine(house.settings, door="backroom_worker", connections=2)
        self.close = engine.dispose
        store = Store(engine)
        self.house = House(
            now=lambda: self.time,
            new_id=lambda: str(uuid_utils.uuid7()),
            chance=lambda: 0.0,
            unit=store.unit,
            apps=store.apps,
            house_app=store.house,
            hand_on=self.handed_on.extend,
            answer=lambda *_: None,
            channels={"email": carrier},
            words=Words(Shelves().templates),
            rules={},
            sight=lambda *_: None,
            stopping=lambda: False,
            pause=lambda _: None,
            cancelled=lambda _: False,
            progress=lambda *_: None,
            admit=lambda *_: None,
        )

    def run(self, function: Callable, message, message_id: str = "") -> None:
        tools = Tools(self.house, app=getattr(message, "app", ""), message_id=message_id or str(uuid_utils.uuid7()))
        try:
            function(message, tools)
            tools.commit()
        finally:
            tools.close()

    def send(self, type: str = "order_shipped", data: dict | None = None) -> str:
        """Send a notification to Ada; the id of its email's delivery."""
        example = dict(self.house.words.types[type].example) if data is None else data
        notification = str(uuid_utils.uuid7())
        message = SendNotification(app=self.app, type=type, to=["ada"], data=example, accepted_at=self.time)
        self.run(send_notification, message, notification)
        (delivery,) = [one for one in self.handed_on if isinstance(one.message, AttemptDelivery)]
        return delivery.message.delivery

    def attempt(self, delivery: str) -> None:
        self.run(attempt_delivery, AttemptDelivery(app=self.app, delivery=delivery), delivery)

    def rows(self, notification: str):
        unit = self.house.unit(self.app)
        try:
            return unit.read.notifications.deliveries([notification])
        finally:
            unit.close()

    def row(self, delivery: str):
        unit = self.house.unit(self.app)
        try:
            return unit.read.notifications.delivery(delivery)
        finally:
            unit.close()


TAKEN = Receipt(provider_id="p1")


@pytest.fixture
def make_world(house: TestHouse) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(*answers: Receipt | BaseException) -> World:
        world = World(house, Carrier(*answers))
        worlds.append(world)
        unit = world.house.unit(world.app)
        profile = {"contacts": {"email": "ada@example.com"}}
        unit.write.users.put("ada", profile=profile, written_by=str(uuid_utils.uuid7()))
        unit.commit()
        return world

    yield make
    for world in worlds:
        world.close()


def test_a_letter_that_was_taken_is_never_sent_again(make_world):
    world = make_world(TAKEN)
    delivery = world.send()

    world.attempt(delivery)
    world.attempt(delivery)

    assert len(world.carrier.letters) == 1
    assert world.row(delivery).state == "sent"


def test_a_refused_letter_is_never_sent_again(make_world):
    world = make_world(Rejected("the mailbox is gone", code="5.1.1", suppress=True))
    delivery = world.send()

    world.attempt(delivery)
    world.attempt(delivery)

    row = world.row(delivery)
    assert (row.state, row.reason, row.code) == ("refused", "the mailbox is gone", "5.1.1")
    assert len(world.carrier.letters) == 1


def test_an_address_that_is_dead_hears_from_us_no_more(make_world):
    world = make_world(Rejected("the mailbox is gone", suppress=True))
    world.attempt(world.send())
    world.handed_on.clear()

    later = world.send()
    world.attempt(later)

    assert world.row(later).reason == "suppressed"
    assert len(world.carrier.letters) == 1


def test_a_carrier_that_asks_for_time_gets_it(make_world):
    world = make_world(Unreachable("too many requests", code="429", after=timedelta(seconds=17)), TAKEN)
    delivery = world.send()

    with pytest.raises(Snooze) as snooze:
        world.attempt(delivery)

    assert snooze.value.after == timedelta(seconds=17)
    assert world.row(delivery).state == "retrying"
    assert world.row(delivery).due_at == world.time + timedelta(seconds=17)
    world.attempt(delivery)
    row = world.row(delivery)
    assert (row.state, row.attempts, row.reason, row.code) == ("sent", 2, "", "")


def test_a_carrier_that_never_comes_back_is_given_up(make_world):
    world = make_world(*[Unreachable("it is down")] * 8)
    delivery = world.send()

    for _ in range(7):
        with pytest.raises(Snooze):
            world.attempt(delivery)
    world.attempt(delivery)

    assert world.row(delivery).state == "failed"
    assert world.row(delivery).reason.startswith("gave up after 8 tries")


def test_a_worker_killed_between_claim_and_record_leaves_unknown_and_no_second_letter(make_world):
    world = make_world(Killed(), TAKEN)
    delivery = world.send("order_shipped")
    with pytest.raises(Killed):
        world.attempt(delivery)
    assert world.row(delivery).state == "sending"

    world.attempt(delivery)

    assert (world.row(delivery).state, world.row(delivery).reason) == ("unknown", "worker_lost")
    assert len(world.carrier.letters) == 1


def test_a_type_that_would_rather_be_twice_than_never_is_sent_again_after_a_kill(make_world):
    world = make_world(Killed(), TAKEN)
    delivery = world.send("admin_notice")
    with pytest.raises(Killed):
        world.attempt(delivery)

    world.attempt(delivery)

    assert world.row(delivery).state == "sent"
    assert len(world.carrier.letters) == 2


def test_a_time_out_after_the_letter_was_handed_over_is_unknown(make_world):
    world = make_world(Unreachable("no answer in time", maybe_sent=True))
    delivery = world.send("order_shipped")

    world.attempt(delivery)
    world.attempt(delivery)

    assert world.row(delivery).state == "unknown"
    assert len(world.carrier.letters) == 1


def test_a_letter_waits_until_a_carrier_that_refuses_us_is_mended(make_world):
    world = make_world(Misconfigured("the key was refused", code="401"), TAKEN)
    delivery = world.send()

    with pytest.raises(Snooze) as again:
        world.attempt(delivery)

    assert (world.row(delivery).state, world.row(delivery).code) == ("retrying", "401")
    assert again.value.after == SHORTEST_MENDING
    (alarm,) = [one.message for one in world.handed_on if isinstance(one.message, ReportFinding)]
    assert (alarm.rule, alarm.about) == ("carrier.misconfigured", "scripted")

    world.time += again.value.after
    world.attempt(delivery)
    assert world.row(delivery).state == "sent"


def test_a_carrier_that_nobody_mends_fails_the_letter_after_a_day(make_world):
    world = make_world(*[Misconfigured("the key was refused", code="401")] * 99)
    delivery = world.send()

    while world.row(delivery).state in {"waiting", "retrying"}:
        with contextlib.suppress(Snooze):
            world.attempt(delivery)
        world.time = max(world.time, world.row(delivery).due_at or world.time)

    assert (world.row(delivery).state, world.row(delivery).code) == ("failed", "401")
    # Not a letter less than a day, and not so often that the carrier would mind.
    assert world.time - world.row(delivery).created_at >= MENDED_WITHIN
    assert len(world.carrier.letters) < 40


def test_what_a_carrier_refused_us_for_costs_the_letter_none_of_its_tries(make_world):
    world = make_world(*[Misconfigured("the key was refused")] * 12, *[Unreachable("a rush", code="503")] * 3, TAKEN)
    delivery = world.send()

    for _ in range(16):
        with contextlib.suppress(Snooze):
            world.attempt(delivery)
        world.time = max(world.time, world.row(delivery).due_at or world.time)

    assert (world.row(delivery).state, world.row(delivery).attempts) == ("sent", 4)


def test_a_delivery_whose_type_lost_its_medium_says_so(make_world, tmp_path: Path):
    world = make_world(TAKEN)
    delivery = world.send()
    folder = tmp_path / "order_shipped"
    shutil.copytree(Shelves().templates[0] / "order_shipped", folder)
    for file in folder.glob("email*"):
        file.unlink()
    kind = folder / "type.toml"
    kind.write_text(kind.read_text("utf-8").replace('"email", ', ""), "utf-8")
    world.house = replace(world.house, words=Words([tmp_path]))

    with pytest.raises(Invalid):
        world.attempt(delivery)

    assert world.row(delivery).state == "failed"
    assert "no such channel of this notification type (there is inbox, sms)" in world.row(delivery).reason
    assert not world.carrier.letters


def test_a_template_that_fails_says_which_line_and_variable(make_world, tmp_path: Path):
    world = make_world(TAKEN)
    delivery = world.send()
    folder = tmp_path / "order_shipped"
    folder.mkdir()
    for file in (Shelves().templates[0] / "order_shipped").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "email.jinja").write_text(
        "{% block subject %}{{ no_such_thing }}{% endblock %}"
        "{% block text %}{% endblock %}{% block html %}{% endblock %}"
    )
    world.house = replace(world.house, words=Words([tmp_path]))

    with pytest.raises(TemplateFailed) as failure:
        world.attempt(delivery)

    assert (failure.value.line, failure.value.variable) == (1, "no_such_thing")
    assert failure.value.template.endswith("email.jinja")
    assert world.row(delivery).state == "failed"
    assert not world.carrier.letters


def test_a_delivery_whose_message_was_lost_is_handed_on_again(make_world):
    world = make_world(TAKEN)
    delivery = world.send()
    world.handed_on.clear()

    world.time += FORGOTTEN_AFTER / 2
    world.run(rescue_deliveries, RescueDeliveries())
    assert not world.handed_on
    world.time += FORGOTTEN_AFTER
    world.run(rescue_deliveries, RescueDeliveries())

    assert [one.id for one in world.handed_on] == [delivery]


def test_sending_twice_makes_no_second_delivery(make_world):
    world = make_world(TAKEN)
    notification = str(uuid_utils.uuid7())
    data = dict(world.house.words.types["order_shipped"].example)
    message = SendNotification(
        app=world.app, type="order_shipped", to=["ada", "ada"], data=data, accepted_at=world.time
    )

    world.run(send_notification, message, notification)
    world.run(send_notification, message, notification)

    assert len({one.message.delivery for one in world.handed_on}) == 1


def test_a_delivery_that_is_gone_is_cancelled(make_world):
    world = make_world()
    with pytest.raises(Cancel):
        world.attempt(str(uuid_utils.uuid7()))


def test_a_reader_whose_profile_is_written_at_this_moment_gets_the_letter_all_the_same(make_world):
    world = make_world(TAKEN)
    notification = str(uuid_utils.uuid7())
    data = dict(world.house.words.types["order_shipped"].example)
    message = SendNotification(
        app=world.app, type="order_shipped", to=["ada", "bob", "eve"], data=data, accepted_at=world.time
    )

    world.run(send_notification, message, notification)
    unit = world.house.unit(world.app)
    unit.write.users.put("bob", profile={"contacts": {"email": "b@example.com"}}, written_by=str(uuid_utils.uuid7()))
    unit.commit()
    (second,) = [one for one in world.handed_on if isinstance(one.message, SendNotification)]
    world.run(send_notification, second.message, second.id)

    rows = {row.user_id: row for row in world.rows(notification) if row.medium == "email"}
    assert second.delay > timedelta(0)
    assert [rows[user].state for user in ("ada", "bob", "eve")] == ["waiting", "waiting", "skipped"]
    assert rows["eve"].reason == "unknown_user"
