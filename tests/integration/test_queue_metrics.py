"""What Prometheus is told: what happened where it happened, and how the queues stand, whatever stands or falls."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Cancel, Permanent, QueueAway, Snooze
from backroom.queue.counted import CountedSender
from backroom.queue.decide import BatchFailed, Decide
from backroom.queue.exposition import Standing, registry, table
from backroom.queue.metrics import Metrics, serve
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.tally import BOUNDS, Tally
from tests.house import TestHouse, free_port
from tests.integration.queue_engine import Engine, actor, post, until, working

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "watch-with-prometheus.md"
AT_ONCE = Backoff(first=timedelta(milliseconds=1), longest=timedelta(milliseconds=2))

Samples = Mapping[tuple[str, str, str], float]


def read(url: str, **headers: str) -> Samples:
    answer = httpx.get(url, headers=headers, timeout=30)
    answer.raise_for_status()
    found = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    return {
        (one.name, one.labels.get("queue", ""), one.labels.get("le") or one.labels.get("job", "")): one.value
        for one in found
    }


def counted(samples: Samples, what: str, job: str, queue: str = "work") -> float:
    return samples.get((f"backroom_queue_messages_{what}_total", queue, job), 0)


def families(shown: CollectorRegistry) -> dict[str, list[float]]:
    return {family.name: [one.value for one in family.samples] for family in shown.collect()}


# What happened


def test_a_worker_tells_what_became_of_each_message(engine: Engine, queues: Queues):
    tally, port = Tally(), free_port()
    tries: Counter[str] = Counter()

    def work(message: dict) -> None:
        tries[message["n"]] += 1
        if message["n"] == "dead":
            raise Permanent("no attempt can help")
        if message["n"] == "again" and tries["again"] < 3:
            raise OSError("not yet")
        if message["n"] == "snooze" and tries["snooze"] == 1:
            raise Snooze(timedelta(milliseconds=1))
        if message["n"] == "cancel":
            raise Cancel
        if message["n"] == "away" and tries["away"] == 1:
            raise QueueAway("gone")

    metrics = Metrics(tally, port=port)
    with working(engine, actor("note", work, backoff=AT_ONCE), middleware=[metrics, Decide()]):
        with open_client(engine.url) as client:
            sender = CountedSender(client, tally=tally, prefix="br")
            sent = [post("note", n, id=n) for n in ("fine", "dead", "again", "snooze", "cancel", "away")]
            # Seen before, the second time.
            sender.send(sent)
            sender.send(sent)
        until(lambda: not any(depth.waiting + depth.inflight for depth in queues.depths().values()))
        samples = read(f"http://127.0.0.1:{port}/metrics")

    assert {what: counted(samples, what, "note") for what in Counts} == {
        "enqueued": 6,
        "started": 10,
        "done": 4,
        "failed": 3,
        "retried": 2,
        "snoozed": 1,
        "dead": 1,
        "cancelled": 1,
        "released": 1,
    }
    # Retries have waited for something else.
    assert samples["backroom_queue_wait_seconds_count", "work", "note"] == 10 - 2
    assert samples["backroom_queue_run_seconds_count", "work", "note"] == 10
    with pytest.raises(httpx.ConnectError):
        read(f"http://127.0.0.1:{port}/metrics")


Counts = ("enqueued", "started", "done", "failed", "retried", "snoozed", "dead", "cancelled", "released")


def test_each_message_of_a_batch_counts_and_the_batch_ran_once(engine: Engine, queues: Queues):
    tally = Tally()

    def work(messages: list) -> None:
        bad = [one for one in messages if one.kwargs["message"]["n"] % 5 == 0]
        if bad:
            raise BatchFailed({one.message_id: Permanent("a multiple of five") for one in bad})

    with open_client(engine.url) as client:
        CountedSender(client, tally=tally, prefix="br").send([post("rows", n, queue="rows") for n in range(20)])
    with working(engine, actor("rows", work, queue="rows", batch=20), middleware=[Metrics(tally), Decide()]):
        until(lambda: queues.depths()["rows"].inflight == queues.depths()["rows"].ready == 0)

    counts = tally.total()["rows", "rows"]
    assert (counts.started, counts.done, counts.dead, counts.failed) == (20, 16, 4, 4)
    assert (sum(counts.run.counts), sum(counts.wait.counts)) == (1, 20)


def test_threads_that_count_at_once_lose_nothing_and_names_cannot_be_made_up_without_end():
    tally = Tally(["note"])

    def count() -> None:
        for n in range(5_000):
            tally.of("work", "note").done += 1
            tally.of("work", f"made up {n}").done += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        tally.total()
    total = tally.total()

    assert {of: one.done for of, one in total.items()} == {("unknown", "unknown"): 20_000, ("work", "note"): 20_000}


def test_durations_fall_into_the_bounds_that_hold_them(engine: Engine):
    tally = Tally(["note"])
    for seconds in (0.001, 0.0011, 4_000):
        tally.of("work", "note").run.add(seconds)
    server = serve(registry(tally), host="127.0.0.1", port=(port := free_port()))
    try:
        samples = read(f"http://127.0.0.1:{port}/metrics")
    finally:
        server.shutdown()
        server.server_close()

    name = "backroom_queue_run_seconds_bucket"
    bounds = [samples[name, "work", str(bound)] for bound in (*BOUNDS[:3], BOUNDS[-1], "+Inf")]
    assert bounds == [1, 2, 2, 2, 3]
    assert samples["backroom_queue_run_seconds_sum", "work", "note"] == pytest.approx(4_000.0021)


# Where it is told


def test_every_process_finds_a_port_and_a_token_keeps_strangers_out():
    port = free_port()
    servers = [serve(registry(Tally()), host="127.0.0.1", port=port, token="a secret") for _ in range(3)]
    try:
        ports = [server.server_port for server in servers]
        assert len(set(ports)) == 3
        assert min(ports) == port
        for one in ports:
            url = f"http://127.0.0.1:{one}/metrics"
            assert read(url, Authorization="Bearer a secret")
            for wrong in ({}, {"Authorization": "Bearer another"}, {"Authorization": "a secret"}):
                assert httpx.get(url, headers=wrong).status_code == 401
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_the_front_door_tells_what_it_sent_and_how_the_queues_stand(house: TestHouse):
    url = house.open_door()
    app = house.client(url)
    for name in ("ada", "bob"):
        app.put(f"/v1/users/{name}", json={}).raise_for_status()

    samples = read(f"{url}/metrics")

    (queue,) = [queue for name, queue, job in samples if job == "user.put" and name.endswith("enqueued_total")]
    assert counted(samples, "enqueued", "user.put", queue) == 2
    assert samples["backroom_queue_ready", queue, ""] == 2
    assert samples["backroom_queue_up", "", ""] == 1
    assert samples["backroom_queue_workers_alive", "", ""] == 0
    house.start_worker()
    until(lambda: house.queues().depths()[queue].ready == 0)
    until(lambda: read(f"{url}/metrics")["backroom_queue_workers_alive", "", ""] == 1)
    openmetrics = httpx.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("overrides", "headers", "status"),
    [
        ({}, {}, 200),
        ({}, {"Host": "localhost"}, 200),
        ({}, {"X-Forwarded-For": "127.0.0.1"}, 404),
        ({}, {"Via": "1.1 proxy"}, 404),
        ({}, {"Host": "attacker.example"}, 404),
        ({"public_url": "https://jobs.example.com"}, {}, 404),
        ({"metrics_token": "s3cret"}, {}, 401),
        ({"metrics_token": "s3cret"}, {"Authorization": "Bearer s3cre"}, 401),
        (
            {"metrics_token": "s3cret", "public_url": "https://jobs.example.com"},
            {"Authorization": "Bearer s3cret", "X-Forwarded-For": "192.0.2.7"},
            200,
        ),
    ],
)
def test_the_front_door_s_numbers_are_for_this_machine_or_for_who_has_the_token(
    house: TestHouse, overrides: dict, headers: dict, status: int
):
    from pydantic import SecretStr

    if "metrics_token" in overrides:
        overrides = overrides | {"metrics_token": SecretStr(overrides["metrics_token"])}
    assert httpx.get(f"{house.open_door(**overrides)}/metrics", headers=headers).status_code == status


# How the queues stand


def test_while_valkey_is_away_a_scrape_is_answered_and_says_so(engine: Engine, queues: Queues):
    tally = Tally(["note"])
    tally.of("work", "note").done += 1
    shown = registry(tally, Standing(queues, known=["work"]))
    assert families(shown)["backroom_queue_up"] == [1]

    engine.kill()
    until(lambda: families(shown)["backroom_queue_up"] == [0])

    told = families(shown)
    assert 1 in told["backroom_queue_messages_done"]
    assert "backroom_queue_ready" not in told
    engine.start()
    until(lambda: families(shown)["backroom_queue_up"] == [1])


def test_queues_that_nobody_knows_are_one_and_the_engine_is_asked_once_a_second(engine: Engine, queues: Queues):
    shown = registry(Tally(), Standing(queues, known=["work"]))
    with open_client(engine.url) as client:
        sender = CountedSender(client, tally=Tally(), prefix="br")
        sender.send([post("note"), *(post("note", queue=f"made-up-{n}") for n in range(50))])
        queues.rule("made-up-1", intake="paused")
        assert families(shown)["backroom_queue_ready"] == [50, 1]
        assert families(shown)["backroom_queue_paused"] == [1, 0]
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for _ in range(20):
            families(shown)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - calls <= 4


# Names


def test_names_keep_the_conventions():
    for name, kind, _, about in table():
        assert re.fullmatch(r"backroom_queue_[a-z_]+", name)
        assert name.endswith("_total") == (kind == "counter")
        assert name.endswith("_seconds") == (kind == "histogram" or "_age_" in name)
        assert about.endswith(".")


def test_the_page_lists_every_metric_there_is():
    rows = re.findall(
        r"^\| `(backroom_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", HOW_TO.read_text("utf-8"), re.MULTILINE
    )

    assert rows == [*table()]
