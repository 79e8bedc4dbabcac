"""What the house finds out reaches the administrators as letters, also when the carrier of letters is what is wrong."""

from __future__ import annotations

import uuid

import pytest

from backroom import settings
from backroom.domain.alerting import ReportFinding
from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from backroom.simulator.run import Simulator
from jobs.rule_check import CheckRule
from tests.house import until

ADA = {"name": "Ada", "administrator": True, "contacts": {"email": "ada@example.com"}}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def shop(house):
    return house.client()


def settled(house):
    """Wait until nothing waits in the queues, and nobody is at work."""
    queues = house.queues()
    until(
        lambda: all(depth.ready + depth.delayed + depth.inflight == 0 for depth in queues.depths().values()),
        what="everything is done",
    )


def send(house, job, message):
    client = open_client(house.settings.redis_url)
    post = Post(job=job, queue="alerts", message=message, id=str(uuid.uuid4()))
    Sender(client, prefix=house.settings.key_prefix).send([post])
    client.close()


def start_worker(house, simulator):
    return house.start_worker(simulator_url=simulator.url, simulator_smtp_port=simulator.smtp_port)


def order(shop):
    example = next(kind for kind in shop.get("/v1/types").json()["types"] if kind["name"] == "order_shipped")["example"]
    posted = shop.post("/v1/notifications", json={"type": "order_shipped", "to": ["ada"], "data": example})
    assert posted.status_code == 202, posted.text
    return posted.headers["Location"]


def deliveries(shop, location):
    return {row["channel"]: row for row in shop.get(location).json()["deliveries"]}


def state_of_email(shop, location):
    return deliveries(shop, location).get("email", {}).get("state")


def test_failed_logins_that_were_tracked_become_one_email_and_one_more_when_they_stop(house, shop, simulator):
    start_worker(house, simulator)
    shop.put("/v1/users/ada", json=ADA, headers={"Prefer": "wait=10"})
    failed = {"type": "track", "event": "login.failed", "properties": {"source": "203.0.113.7", "account": "u1"}}

    # Nobody asks for a check: recording the events does.
    assert shop.post("/v1/batch", json={"batch": [{"userId": "u1", **failed}] * 8}).status_code == 200

    (alert,) = until(lambda: shop.get("/v1/alerts").json()["alerts"], what="an alert")
    assert alert["about"] == "source 203.0.113.7"
    settled(house)
    house.owner().execute("UPDATE events SET at = at - interval '20 minutes'")
    send(house, "rule.check", CheckRule(app=house.app.id, rule="login.suspicious"))
    settled(house)

    (alert,) = shop.get("/v1/alerts", params={"state": "resolved"}).json()["alerts"]
    told = [deliveries(shop, f"/v1/notifications/{alert['notices'][state]}") for state in ("firing", "resolved")]
    letters = [simulator.letters(delivery=found["email"]["id"]) for found in told]
    assert [len(sent) for sent in letters] == [1, 1]
    assert len(shop.get("/v1/notifications").json()["notifications"]) == 2


def test_a_carrier_that_refuses_us_is_one_alert_though_the_letter_about_it_is_refused_too(
    house, shop, simulator, monkeypatch
):
    monkeypatch.setenv("EMAIL_SENDGRID_API_KEY", "SG.this-key-was-revoked")
    monkeypatch.setenv("EMAIL_SENDGRID_SENDER", "Shop <shop@example.com>")
    monkeypatch.setenv("EMAIL_SENDGRID_HOST", simulator.url)
    settings._environment.cache_clear()
    worker = start_worker(house, simulator)
    shop.put("/v1/users/ada", json=ADA, headers={"Prefer": "wait=10"})

    locations = [order(shop) for _ in range(3)]

    until(lambda: all(state_of_email(shop, location) == "retrying" for location in locations), what="they wait")
    (alert,) = until(
        lambda: [one for one in shop.get("/v1/alerts").json()["alerts"] if one["notices"]["firing"]], what="an alert"
    )
    assert (alert["rule"], alert["about"], alert["severity"]) == ("carrier.misconfigured", "email_sendgrid", "critical")
    assert alert["state"] == "firing"
    assert alert["evidence"]["channel"] == "email"
    notice = f"/v1/notifications/{alert['notices']['firing']}"
    until(lambda: state_of_email(shop, notice) == "retrying", what="the letter about it waits, too")
    # Each delivery is on its own way.
    until(lambda: deliveries(shop, notice)["inbox"]["state"] == "delivered", what="it is in the inbox")
    assert len(shop.get("/v1/notifications").json()["notifications"]) == 4

    # The key is mended: what it takes next is the end of it, after a while of quiet.
    worker.stop()
    for name in ("API_KEY", "SENDER", "HOST"):
        monkeypatch.delenv(f"EMAIL_SENDGRID_{name}")
    settings._environment.cache_clear()
    start_worker(house, simulator)
    shop.put("/v1/alerts/rules/carrier.misconfigured", json={"settings": {}}, headers={"Prefer": "wait=10"})
    location = order(shop)
    until(lambda: state_of_email(shop, location) == "sent", what="the next letter goes out")
    assert shop.get(f"/v1/alerts/{alert['id']}").json()["state"] == "firing"

    shop.put("/v1/alerts/rules/carrier.misconfigured", json={"settings": {"quiet_seconds": 0}})

    until(lambda: shop.get(f"/v1/alerts/{alert['id']}").json()["state"] == "resolved", what="it is resolved")

    def notices():
        inbox = [item["title"] for item in shop.get("/v1/users/ada/inbox").json()["items"]]
        return [title for title in inbox if "Carrier" in title]

    told = until(lambda: len(found := notices()) > 1 and found, what="its end is told")
    assert told == ["Resolved: Carrier misconfigured", "Critical: Carrier misconfigured"]


def test_a_job_may_report_what_no_rule_looks_for_and_take_it_back(house, shop):
    house.start_worker()
    shop.put("/v1/users/ada", json=ADA, headers={"Prefer": "wait=10"})
    report = {"app": house.app.id, "rule": "backup.late", "about": "nightly"}

    for _ in range(2):
        send(house, "alert.report", ReportFinding(**report, says="No backup since yesterday", evidence={"hours": 26}))
        settled(house)
    (alert,) = shop.get("/v1/alerts").json()["alerts"]
    assert (alert["state"], alert["severity"], alert["evidence"]) == ("firing", "warning", {"hours": 26})

    for _ in range(2):
        send(house, "alert.report", ReportFinding(**report, says="The backup is there", state="clear"))
        settled(house)

    (alert,) = shop.get("/v1/alerts").json()["alerts"]
    assert (alert["state"], alert["says"]) == ("resolved", "The backup is there")
    assert [item["title"] for item in shop.get("/v1/users/ada/inbox").json()["items"]] == [
        "Resolved: Backup late",
        "Warning: Backup late",
    ]
