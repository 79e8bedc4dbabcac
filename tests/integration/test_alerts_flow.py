"""From what happened to who was told: real door, real worker, real engines."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from jobs.rule_check import CheckRule
from tests.house import until

RULE = "login.suspicious"
SOURCE = "203.0.113.7"


@pytest.fixture
def db(house):
    return house.owner()


@pytest.fixture
def shop(house):
    """The shop's client; its administrators are ada and bob."""
    client = house.client()
    house.start_worker()
    add_administrators(client, "ada", "bob")
    return client


def add_administrators(client, *users):
    for user in users:
        put = client.put(f"/v1/users/{user}", json={"administrator": True}, headers={"Prefer": "wait=10"})
        assert put.status_code == 200, put.text


def check(house, rule=RULE, *, app=None, id=""):
    """Put a check on the queue, as the clock would."""
    client = open_client(house.settings.redis_url)
    message = CheckRule(app=house.app.id if app is None else app, rule=rule)
    post = Post(job="rule.check", queue="alerts", message=message, id=id or str(uuid.uuid4()))
    Sender(client, prefix=house.settings.key_prefix).send([post])
    client.close()


def checked(house, rule=RULE, *, app=None):
    """Put a check on the queue and wait until everything that follows from it is done."""
    check(house, rule, app=app)
    settled(house)


def settled(house):
    """Wait until nothing waits in the queues, and nobody is at work."""
    queues = house.queues()
    until(
        lambda: all(depth.ready + depth.delayed + depth.inflight == 0 for depth in queues.depths().values()),
        what="everything is done",
    )


def fail_logins(db, app, count, *, ago=timedelta(0), source=SOURCE):
    for number in range(count):
        db.execute(
            "INSERT INTO events (app_id, message_id, kind, name, properties, at)"
            " VALUES (%s, %s, 'track', 'login.failed', %s, %s)",
            (app, str(uuid.uuid4()), Jsonb({"source": source, "account": f"u{number}"}), datetime.now(UTC) - ago),
        )


def alerts(client, **params):
    answer = client.get("/v1/alerts", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["alerts"]


def titles(client, user):
    return [item["title"] for item in client.get(f"/v1/users/{user}/inbox").json()["items"]]


def test_a_burst_of_failed_logins_alerts_each_administrator_once(house, shop, db):
    fail_logins(db, house.app.id, 8)

    for _ in range(3):
        checked(house)

    (alert,) = alerts(shop)
    assert alert["about"] == f"source {SOURCE}"
    assert alert["state"] == "firing"
    assert alert["severity"] == "warning"
    assert alert["says"] == f"8 sign-ins failed from {SOURCE}, on 8 accounts"
    assert alert["evidence"]["failures"] == 8
    assert alert["told"] == ["ada", "bob"]
    assert alert["remark"] is None
    assert alert["fired_at"]
    assert alert["resolved_at"] is None
    assert titles(shop, "ada") == titles(shop, "bob") == ["Warning: Login suspicious"]
    notification = shop.get(f"/v1/notifications/{alert['notices']['firing']}").json()
    assert notification["to"] == ["ada", "bob"]
    assert len(shop.get("/v1/notifications").json()["notifications"]) == 1


def test_it_resolves_when_they_have_stopped_and_says_so_to_those_who_were_told(house, shop, db):
    fail_logins(db, house.app.id, 8)
    checked(house)
    add_administrators(shop, "eve")

    db.execute("UPDATE events SET at = at - interval '20 minutes'")
    for _ in range(2):
        checked(house)

    (alert,) = alerts(shop)
    assert alert["state"] == "resolved"
    assert alert["resolved_at"]
    assert titles(shop, "ada") == ["Resolved: Login suspicious", "Warning: Login suspicious"]
    assert titles(shop, "eve") == []


def test_the_same_trouble_after_it_was_over_is_a_new_alert(house, shop, db):
    fail_logins(db, house.app.id, 8)
    checked(house)
    db.execute("UPDATE events SET at = at - interval '20 minutes'")
    checked(house)

    fail_logins(db, house.app.id, 8)
    checked(house)

    assert [alert["state"] for alert in alerts(shop)] == ["firing", "resolved"]
    assert [alert["state"] for alert in alerts(shop, state="resolved")] == ["resolved"]
    assert len(titles(shop, "ada")) == 3


def test_many_checks_at_once_in_two_workers_fire_once(house, shop, db):
    house.start_worker()
    for number in range(5):
        fail_logins(db, house.app.id, 8, source=f"203.0.113.{number}")

    for _ in range(20):
        check(house)
    settled(house)

    assert len(alerts(shop)) == 5
    assert len(titles(shop, "ada")) == len(titles(shop, "bob")) == 5
    assert not house.queues().dead()


def test_a_check_that_comes_again_after_a_restart_tells_nobody_again(house, shop, db):
    fail_logins(db, house.app.id, 8)
    checked(house)

    # The queue forgets everything: what it had done, and that it had done it.
    client = open_client(house.settings.redis_url)
    for key in client.scan_iter(f"*{house.settings.key_prefix}*"):
        client.delete(key)
    client.close()
    for _ in range(2):
        checked(house)

    assert len(titles(shop, "ada")) == 1
    assert len(shop.get("/v1/notifications").json()["notifications"]) == 1


def test_a_notice_whose_message_was_lost_is_handed_on_by_the_next_check(house, shop, db):
    fail_logins(db, house.app.id, 8)
    checked(house)
    # As if the worker had been killed between its commit and its hand-on.
    db.execute("DELETE FROM notifications")
    client = open_client(house.settings.redis_url)
    for key in client.scan_iter(f"*{house.settings.key_prefix}*"):
        client.delete(key)
    client.close()

    checked(house)

    assert titles(shop, "ada") == ["Warning: Login suspicious"]


def test_an_alert_that_nobody_was_told_of_says_so_and_is_told_when_there_is_an_administrator(house, db):
    client = house.client()
    house.start_worker()
    fail_logins(db, house.app.id, 8)
    checked(house)
    (alert,) = alerts(client)
    assert alert["told"] == []
    assert "nobody was told" in alert["remark"]

    add_administrators(client, "ada")
    checked(house)

    (alert,) = alerts(client)
    assert alert["told"] == ["ada"]
    assert alert["remark"] is None
    assert titles(client, "ada") == ["Warning: Login suspicious"]


def test_a_check_for_everybody_finds_each_applications_own_trouble(house, shop, db):
    other = house.another_app()
    add_administrators(house.client(key=other.secret_key.text), "zoe")
    fail_logins(db, other.id, 8)

    checked(house, app="")

    assert alerts(shop) == []
    assert titles(shop, "ada") == []
    assert len(alerts(house.client(key=other.secret_key.text))) == 1


def test_the_machines_are_the_house_applications_business_only(house, shop):
    other = house.another_app()
    stranger = house.client(key=other.secret_key.text)
    add_administrators(stranger, "zoe")
    shop.put("/v1/alerts/rules/memory.low", json={"settings": {"fires_below": 1.0, "hold_seconds": 0}})
    until(lambda: alerts(shop, state="firing"))

    checked(house, "memory.low", app="")
    checked(house, "memory.low", app=other.id)

    assert len(alerts(shop)) == 1
    assert alerts(stranger) == []
    assert titles(stranger, "zoe") == []


def test_memory_fires_after_its_hold_and_resolves_when_the_threshold_is_set_back(house, shop):
    put = shop.put(
        "/v1/alerts/rules/memory.low",
        json={"settings": {"fires_below": 1.0, "hold_seconds": 1}},
        headers={"Prefer": "wait=10"},
    )
    assert put.status_code == 200, put.text

    # The hold begins with the check that setting a threshold asks for, and another one comes when it is over.
    (alert,) = until(lambda: alerts(shop, state="firing"), what="the memory alert fires")
    found, fired = (datetime.fromisoformat(alert[name]) for name in ("found_at", "fired_at"))
    assert fired - found >= timedelta(seconds=1)
    assert alert["severity"] == "critical"
    assert "of memory is available on" in alert["says"]
    until(lambda: titles(shop, "ada") == ["Critical: Memory low"])

    shop.put("/v1/alerts/rules/memory.low", json={"settings": {"clears_above": 0.0}})

    until(lambda: alerts(shop, state="resolved"), what="the memory alert resolves")
    until(lambda: titles(shop, "ada") == ["Resolved: Memory low", "Critical: Memory low"])


def test_a_finding_that_passes_within_its_hold_is_told_to_nobody(house, shop):
    shop.put("/v1/alerts/rules/memory.low", json={"settings": {"fires_below": 1.0}})
    until(lambda: alerts(shop, state="pending"))

    shop.put("/v1/alerts/rules/memory.low", json={"settings": {"clears_above": 0.0}})

    until(lambda: alerts(shop) == [])
    assert titles(shop, "ada") == []


def test_the_first_to_acknowledge_an_alert_counts(house, shop, db):
    fail_logins(db, house.app.id, 8)
    checked(house)
    (alert,) = alerts(shop)
    where = f"/v1/alerts/{alert['id']}"

    first = shop.put(f"{where}/acknowledgement", json={"by": "ada"}, headers={"Prefer": "wait=10"})
    shop.put(f"{where}/acknowledgement", json={"by": "bob"}, headers={"Prefer": "wait=10"})

    assert first.status_code == 200
    assert first.headers["Location"] == where
    shown = shop.get(where).json()
    assert shown["acknowledged"]["by"] == "ada"
    assert shown["acknowledged"]["at"]
    assert shown["state"] == "firing"


def test_another_application_sees_and_changes_nothing(house, shop, db):
    fail_logins(db, house.app.id, 8)
    checked(house)
    (alert,) = alerts(shop)
    stranger = house.client(key=house.another_app().secret_key.text)

    assert alerts(stranger) == []
    assert stranger.get(f"/v1/alerts/{alert['id']}").status_code == 404
    assert stranger.put(f"/v1/alerts/{alert['id']}/acknowledgement", json={"by": "eve"}).status_code == 404
    # Only the house application hears about the machines, so only it may say when.
    assert stranger.put("/v1/alerts/rules/memory.low", json={"settings": {}}).status_code == 422
    assert {rule["name"] for rule in stranger.get("/v1/alerts/rules").json()["rules"]} >= {RULE}
    assert "memory.low" not in {rule["name"] for rule in stranger.get("/v1/alerts/rules").json()["rules"]}


def test_a_users_token_opens_no_alert(house, shop):
    token = shop.post("/v1/users/ada/tokens").json()["token"]
    user = house.client(key=token)

    for path in ("/v1/alerts", "/v1/alerts/rules", f"/v1/alerts/{uuid.uuid4()}"):
        assert user.get(path).status_code == 403, path


def test_rules_are_shown_with_their_thresholds_and_what_is_wrong_is_named(house):
    client = house.client()
    house.start_worker()
    where = f"/v1/alerts/rules/{RULE}"
    put = client.put(where, json={"settings": {"capacity": 3}}, headers={"Prefer": "wait=10"})
    assert put.status_code == 200, put.text

    rules = {rule["name"]: rule for rule in client.get("/v1/alerts/rules").json()["rules"]}
    assert {"memory.low", RULE, "carrier.misconfigured"} <= rules.keys()
    assert rules[RULE]["settings"]["capacity"] == 3
    assert rules[RULE]["defaults"]["capacity"] == 5
    assert rules[RULE]["about"].endswith(".")

    for path, body, field, right in (
        ("/v1/alerts/rules/memory.lo", {"settings": {}}, "/rule", "memory.low"),
        (where, {"settings": {"capacty": 1}}, "/settings/capacty", "capacity"),
        (where, {"settings": {"capacity": -1}}, "/settings/capacity", "from 0"),
        (where, {"settings": {"capacity": "many"}}, "/settings/...", ""),
        (where, {}, "/settings", ""),
    ):
        answer = client.put(path, json=body)
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["field"] == field
        assert right in error["right"]
    assert client.get("/v1/alerts", params={"state": "fireing"}).json()["errors"][0]["right"] == "did you mean firing?"
    # PUT replaces: what is left out goes back to the rule's own.
    client.put(where, json={"settings": {}}, headers={"Prefer": "wait=10"})
    rules = {rule["name"]: rule for rule in client.get("/v1/alerts/rules").json()["rules"]}
    assert rules[RULE]["settings"] == rules[RULE]["defaults"]


def test_pages_of_alerts_go_from_the_newest_to_the_oldest(house, shop, db):
    for number in range(5):
        fail_logins(db, house.app.id, 8, source=f"203.0.113.{number}")
    checked(house)

    first = shop.get("/v1/alerts", params={"limit": 3}).json()
    second = shop.get("/v1/alerts", params={"limit": 3, "after": first["next"]}).json()

    ids = [alert["id"] for page in (first, second) for alert in page["alerts"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 5
    assert second["next"] is None
