"""Whatever is asked of the queue, in whatever order and however often: each message is in one place, and ends.

Random calls of every script on a real engine, compared with a model in plain Python after each. `QUEUE_MODEL_EXAMPLES`
asks for more of them than a change has to pass.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backroom.domain.errors import Full
from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.running import Running
from backroom.queue.sender import Sender
from backroom.queue.wire import Once, OneOfAKind, Post, line_of, milliseconds, sealed
from tests.integration.queue_engine import Engine, running
from tests.integration.queue_model import Held, Model
from tests.integration.queue_truth import BASE, Truth

HOUR = timedelta(hours=1)
LEASE_MS = 600_000
WORKERS = ("w1", "w2", "w3")
# Batch, linger in ms, ordered.
LANES = {"plain": (0, 0, 0), "rows": (3, 3_600_000, 0), "lane": (2, 0, 1)}
# Concurrent, then count, period in ms and burst of a rate.
LIMITS = {"two": (2, 0, 0, 0), "rate": (0, 1, 3_600_000, 2)}
MOST_AT_ONCE = {"two": 2}
SCRIPTS = ("fetch", "settle", "begin", "beat", "leave", "adopt")

# At the end nothing is left of messages but the memory of them, and what the queue keeps of itself.
LASTING = {"done", "endings", "queues", "busy", "limited", "turns", "token"}

queue_names = st.sampled_from(tuple(LANES))
workers = st.sampled_from(WORKERS)
picks = st.integers(0, 1_000)
often_not = st.sampled_from((False, False, False, True))
limit_keys = st.sampled_from(((), (), (), ("two/x",), ("two/y",), ("rate",), ("two/x", "rate")))
uniques = st.one_of(
    st.none(),
    st.none(),
    st.builds(OneOfAKind, key=st.sampled_from(("q1", "q2")), mode=st.just("q"), replace=st.booleans()),
    st.builds(OneOfAKind, key=st.just("r1"), mode=st.just("r"), replace=st.booleans()),
    st.builds(OneOfAKind, key=st.just("p1"), mode=st.just("p"), period=st.just(HOUR), replace=st.booleans()),
)
onces = st.one_of(
    st.none(),
    st.none(),
    st.builds(Once, key=st.sampled_from(("o1", "o2")), window=st.just(HOUR), fingerprint=st.sampled_from("ab")),
)
posts = st.builds(
    Post,
    job=st.just("note"),
    queue=st.sampled_from(("plain", "plain", "rows", "lane")),
    message=st.just(None),
    # A number stands for a message that was sent before, if it is not too large.
    id=st.integers(0, 60).map(str),
    delay=st.sampled_from((timedelta(0), timedelta(0), HOUR)),
    priority=st.sampled_from(("normal", "normal", "urgent", "bulk")),
    app=st.sampled_from(("", "a", "b")),
    unique=uniques,
    once=onces,
    limits=limit_keys,
    expires=st.sampled_from((None, None, HOUR)),
)
decisions = st.tuples(
    picks, st.sampled_from(("done", "done", "again", "dead", "release")), st.booleans(), st.booleans(), often_not
)


class QueueMachine(RuleBasedStateMachine):
    """Every rule is one call, or an accident."""

    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        self.client = open_client(self.engine.url)
        self.sender = Sender(self.client, prefix="br")
        self.queues = Queues(self.client, prefix="br")
        self.running = Running(self.client, prefix="br")
        self.call = {name: Script(self.client, name, prefix="br") for name in SCRIPTS}
        self.model = Model()
        self.ids: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.rules: dict[str, dict] = {queue: {} for queue in LANES}
        self.token = 0
        self.begun = False

    @initialize(first=st.lists(posts, min_size=3, max_size=8))
    def begin_anew(self, first: list[Post]) -> None:
        self.client.flushdb()
        self.begun = True
        self.send(first, repeat=False)

    # -- sending

    def known(self, pick: int) -> str:
        return self.ids[pick % len(self.ids)]

    def named(self, wanted: Sequence[Post]) -> list[Post]:
        """These posts with ids: some are old ones."""
        found = []
        for post in wanted:
            number = int(post.id)
            if number < len(self.ids) and number % 3 == 0:
                id = self.ids[number]
            else:
                id = f"m{len(self.ids)}"
                self.ids.append(id)
            found.append(Post(**{name: getattr(post, name) for name in Post.__slots__} | {"id": id}))
        return found

    def refused(self, wanted: Sequence[Post]) -> bool:
        ready = {queue: depth.ready for queue, depth in self.queues.depths().items()}
        return any(
            self.rules[post.queue].get("intake") == "draining"
            or ready.get(post.queue, 0) >= self.rules[post.queue].get("mark", 1_000_000)
            for post in wanted
        )

    @rule(wanted=st.lists(posts, min_size=1, max_size=5), repeat=often_not)
    def send(self, wanted: list[Post], *, repeat: bool) -> None:
        wanted = self.named(wanted)
        for again in (False, True)[: 1 + repeat]:
            before = Truth(self.client).lasting()
            if self.refused(wanted):
                with pytest.raises(Full):
                    self.sender.send(wanted)
                assert Truth(self.client).lasting() == before
                continue
            said = [(one.id, one.fresh, one.conflict) for one in self.sender.send(wanted)]
            assert said == [self.model.enqueue(post, line_of(post.priority, post.app)) for post in wanted]
            if again:
                assert Truth(self.client).lasting() == before

    # -- working

    @rule(
        worker=workers,
        capacity=st.integers(1, 6),
        judges=st.booleans(),
        asked=st.lists(queue_names, min_size=1, max_size=3, unique=True),
        heard=st.sampled_from((True, True, False)),
    )
    def fetch(self, worker: str, capacity: int, asked: list[str], *, judges: bool, heard: bool) -> None:
        before = Truth(self.client)
        reply = self.fetch_for(worker, capacity, asked, judges=judges)
        rows = list(zip(*[iter(reply[HEADER + reply[HEADER - 1] :])] * 6, strict=True))
        self.judge(worker, reply, judges=judges)
        ready = {queue: self.surely_ready(queue) for queue in asked}
        taken: dict[str, Counter[int]] = {queue: Counter() for queue in asked}
        lane_was_held = any(one.held and one.queue == "lane" for one in self.model.living.values())
        self.expire(reply[6])
        for of, delivery, of_id, token, nth, body in rows:
            queue, id = of.decode(), of_id.decode()
            assert token > self.token
            assert self.model.living[id].queue == queue
            self.token = token
            self.bodies[id] = body
            taken[queue][delivery] += 1
            self.model.take(id, Held(worker=worker, token=token, nth=nth))
            if LANES[queue][0] and (nth > 2 or id in before.keys.get("alone", {})):
                assert sum(1 for row in rows if row[1] == delivery) == 1
        self.check_shares(capacity, taken, ready, lane_was_held=lane_was_held)
        if not heard:
            self.adopt(worker)

    @rule(worker=workers, judges=st.booleans(), wanted=st.lists(decisions, max_size=6), repeat=often_not)
    def work(self, worker: str, wanted: list, *, judges: bool, repeat: bool) -> None:
        """A worker takes what it can, and decides about some of it."""
        self.fetch(worker, 6, judges=judges, asked=list(LANES), heard=True)
        if wanted and self.model.holds(worker):
            self.settle(worker, wanted, [], repeat=repeat)

    @rule(times=st.integers(1, 6), begun=st.booleans())
    def spread_poison(self, times: int, *, begun: bool) -> None:
        """One worker after another takes what there is, and dies of it."""
        for at in range(times):
            worker, heir = WORKERS[at % 2], WORKERS[(at + 1) % 2]
            self.fetch(worker, 4, judges=False, asked=list(LANES), heard=True)
            if begun and self.model.holds(worker):
                self.begin(worker, [*range(50)], stale=False)
            self.end_lease(worker)
            self.fetch(heir, 1, judges=True, asked=["plain"], heard=True)

    def fetch_for(self, worker: str, capacity: int, asked: list[str], *, judges: bool) -> list:
        limits = [value for name, numbers in LIMITS.items() for value in (name, *numbers)]
        lanes = [value for queue in asked for value in (queue, *LANES[queue])]
        return self.call["fetch"](worker, LEASE_MS, capacity, int(judges), len(LIMITS), len(asked), *limits, *lanes)

    def judge(self, worker: str, reply: list, *, judges: bool) -> None:
        """What a fetch says about this worker and others."""
        _, _, dead, back, poison, was_gone, _, missing, asked = reply[:HEADER]
        assert missing == 0
        wanted = {id for id, held in self.model.holds(worker).items() if self.model.living[id].cancelling}
        assert {id.decode() for id in reply[HEADER : HEADER + asked]} == wanted
        assert was_gone == (worker not in self.model.workers)
        gone = [name for name, alive in self.model.workers.items() if judges and not alive and name != worker]
        given = [self.model.give_back(name, counted=True) for name in gone]
        assert (dead, back, poison) == (len(gone), sum(one[0] for one in given), sum(one[1] for one in given))
        self.model.workers[worker] = True

    def expire(self, count: int) -> None:
        """What a fetch found to be too late."""
        there = Truth(self.client)
        late = [id for id in self.model.waiting(list(LANES)) if self.model.living[id].expires and id not in there.msgs]
        assert len(late) == count
        for id in late:
            assert '"expired"' in there.keys["endings"][id]
            self.model.end(id, "expired")

    def surely_ready(self, queue: str) -> list[str]:
        """What nothing holds back but the number of those that are taken."""
        if self.rules[queue].get("intake") == "paused":
            return []
        waiting = self.model.waiting([queue])
        return [id for id in waiting if not self.model.living[id].expires and not self.model.living[id].limits]

    def check_shares(
        self, capacity: int, taken: dict[str, Counter[int]], ready: dict[str, list[str]], *, lane_was_held: bool
    ) -> None:
        room = capacity - sum(len(deliveries) for deliveries in taken.values())
        assert room >= 0
        for queue, deliveries in taken.items():
            batch, _, ordered = LANES[queue]
            most = self.rules[queue].get("most")
            inflight = sum(1 for one in self.model.living.values() if one.held and one.queue == queue)
            assert not deliveries or self.rules[queue].get("intake") != "paused"
            assert not deliveries or not most or inflight <= most
            assert all(count <= max(1, batch) for count in deliveries.values())
            if ordered:
                assert len(deliveries) <= (not lane_was_held)
            left = [id for id in ready[queue] if not self.model.living[id].held]
            if room and not most and queue == "plain":
                assert not left
            if room and not most and queue == "rows":
                # Fewer may linger.
                assert len(left) < batch

    def adopt(self, worker: str) -> None:
        reply = self.call["adopt"](worker)
        held = {id.decode(): int(value.split(b"|")[0]) for id, value, _ in zip(*[iter(reply)] * 3, strict=True)}
        assert held == {id: one.token for id, one in self.model.holds(worker).items()}
        self.bodies |= {id.decode(): body for id, _, body in zip(*[iter(reply)] * 3, strict=True)}

    @precondition(lambda self: any(one.held for one in self.model.living.values()))
    @rule(
        worker=workers,
        wanted=st.lists(decisions, min_size=1, max_size=6),
        following=st.lists(posts, max_size=2),
        repeat=often_not,
    )
    def settle(self, worker: str, wanted: list, following: list[Post], *, repeat: bool) -> None:
        held = {id: one.held for id, one in self.model.living.items() if one.held}
        # Mostly its own.
        mine = list(self.model.holds(worker)) or list(held)
        args: list = []
        valid: list[tuple[str, str, bool]] = []
        expected = []
        following = self.named(following)
        for at, (pick, what, later, alone, stale) in enumerate(wanted):
            id = (mine if pick % 5 else list(held))[pick % len(mine if pick % 5 else held)]
            ordered = self.model.living[id].queue == "lane"
            note = " ".join(["alone"] * alone + ["ordered"] * ordered) if what == "again" else "a reason"
            ms = milliseconds(HOUR) if what == "done" or later else 0
            body = self.bodies[id] if what == "again" else b""
            follow = following if at == 0 else []
            args += [what, id, held[id].token - stale, ms, body, note if what in {"again", "dead"} else "", len(follow)]
            args += [value for post in follow for value in sealed(post)]
            good = held[id].worker == worker and not stale and id not in {one[0] for one in valid}
            expected.append(int(good))
            if good:
                valid.append((id, what, later and not ordered))
        assert self.call["settle"](worker, len(wanted), *args) == expected
        for id, what, later in sorted(valid, key=lambda one: one[1] == "done"):
            self.model.settle(id, what, delayed=later)
        # Only then, so that what is over is not in the way of what follows from it.
        for post in following if expected[0] else ():
            self.model.enqueue(post, line_of(post.priority, post.app))
        if repeat:
            before = Truth(self.client).lasting()
            assert self.call["settle"](worker, len(wanted), *args) == [0] * len(wanted)
            assert Truth(self.client).lasting() == before

    @precondition(lambda self: any(one.held for one in self.model.living.values()))
    @rule(worker=workers, wanted=st.lists(picks, min_size=1, max_size=3, unique=True), stale=often_not)
    def begin(self, worker: str, wanted: list[int], *, stale: bool) -> None:
        held = {id: one.held for id, one in self.model.living.items() if one.held}
        mine = list(self.model.holds(worker)) or list(held)
        ids = list({mine[pick % len(mine)] for pick in wanted})
        args = [value for id in ids for value in (id, held[id].token - stale)]
        good = not stale and all(held[id].worker == worker for id in ids)
        for _ in range(2):
            assert self.call["begin"](worker, len(ids), *args) == int(good)
        for id in ids if good else ():
            held[id].begun = True

    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        was_gone, *cancelled = self.call["beat"](worker, LEASE_MS)
        held = self.model.holds(worker)
        assert was_gone == (worker not in self.model.workers)
        assert {id.decode() for id in cancelled} == {id for id in held if self.model.living[id].cancelling}
        self.model.workers[worker] = True
        # Others may have ended what it still works on.
        for id in [*held, *self.ids[-3:]]:
            self.running.progress(id, 1.0, "nearly")

    @rule(worker=workers, repeat=often_not)
    def leave(self, worker: str, *, repeat: bool) -> None:
        held, _ = self.model.give_back(worker, counted=False)
        assert self.call["leave"](worker) == held
        if repeat:
            assert self.call["leave"](worker) == 0

    # -- accidents, and time

    @precondition(lambda self: self.model.workers)
    @rule(pick=picks)
    def die(self, pick: int) -> None:
        self.end_lease(list(self.model.workers)[pick % len(self.model.workers)])

    def end_lease(self, name: str) -> None:
        self.client.zadd(f"{BASE}workers", {name: 1})
        self.model.workers[name] = False

    @rule()
    def pass_an_hour(self) -> None:
        there = Truth(self.client)
        for key, value in there.keys.items():
            kind = key.partition(":")[0]
            if kind == "delayed":
                self.client.zadd(BASE + key, dict.fromkeys((member for member, _ in value), 1))
            elif kind == "waiting":
                self.client.zadd(BASE + key, {limit: 1 for limit, opens in value if opens < float("inf")} or {"x": 1})
                self.client.zrem(BASE + key, "x")
            elif kind in {"limit", "once", "kept", "returned"} or key.startswith("unique:p"):
                self.client.delete(BASE + key)
            elif kind == "lane":
                self.client.hset(
                    BASE + key, mapping={name: 1 for name in ("until", "first") if name in value} or {"x": 1}
                )
                self.client.hdel(BASE + key, "x")
            elif key == "extras":
                late = {id: "1|" + text.partition("|")[2] for id, text in value.items() if text[0] != "|"}
                if late:
                    self.client.hset(BASE + key, mapping=late)
        self.model.pass_an_hour()

    @rule()
    def forget_what_is_over(self) -> None:
        """As when the tombstones have gone: an id may stand for another message."""
        self.client.delete(f"{BASE}done", f"{BASE}endings")
        self.model.over.clear()

    # -- what people ask for

    @precondition(lambda self: self.ids)
    @rule(pick=picks, repeat=often_not)
    def cancel(self, pick: int, *, repeat: bool) -> None:
        for _ in range(1 + repeat):
            assert self.queues.cancel(self.known(pick)) == self.model.cancel(self.known(pick))

    @precondition(lambda self: self.ids)
    @rule(pick=picks, repeat=often_not)
    def discard(self, pick: int, *, repeat: bool) -> None:
        for _ in range(1 + repeat):
            assert self.queues.discard(self.known(pick)) == self.model.discard(self.known(pick))

    @precondition(lambda self: self.model.dead)
    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        id = list(self.model.dead)[pick % len(self.model.dead)]
        assert self.queues.retry(id)
        self.model.revive(id)
        assert not self.queues.retry(id)

    @rule(queue=queue_names, repeat=often_not)
    def purge(self, queue: str, *, repeat: bool) -> None:
        for _ in range(1 + repeat):
            assert self.queues.purge(queue) == self.model.purge(queue)

    @rule(way=st.permutations(list(LANES)), limit=st.integers(1, 5))
    def move(self, way: list[str], limit: int) -> None:
        queue, to, _ = way
        before = Truth(self.client)
        lined = {id for (of, _), ids in before.lines.items() if of == queue for id in ids}
        there = [id for id in self.model.waiting([queue]) if id in lined]
        moved = self.queues.move(queue, to, limit=limit)
        after = Truth(self.client)
        gone = [id for id in there if f'"queue_name":"{to}"' in after.msgs[id]]
        assert moved == len(gone) == min(limit, len(there))
        for id in gone:
            self.model.living[id].queue = to

    @rule(
        queue=queue_names,
        intake=st.sampled_from(("open", "open", "paused", "draining")),
        most=st.sampled_from((0, 0, 2)),
        mark=st.sampled_from((0, 0, 3)),
    )
    def rule_queue(self, queue: str, intake: str, most: int, mark: int) -> None:
        self.queues.rule(queue, intake=intake, most=most, mark=mark)
        wanted = {"intake": intake, "most": most, "mark": mark}
        self.rules[queue] = {name: value for name, value in wanted.items() if value}

    # -- what must be true after each

    @invariant()
    def is_as_it_should_be(self) -> None:
        there, model = Truth(self.client), self.model
        there.check(most=MOST_AT_ONCE)
        assert set(there.msgs) == set(model.living)
        for queue, depth in self.queues.depths().items():
            assert depth.waiting == sum(one.queue == queue and not one.held for one in model.living.values())
        assert there.dead == set(model.dead)
        assert set(model.over) == there.done
        held = {id: one.held for id, one in model.living.items() if one.held}
        assert held == {
            id: Held(worker=one.worker, token=one.token, nth=one.nth, begun=one.begun)
            for id, one in there.inflight.items()
        }
        assert there.workers.keys() == model.workers.keys()
        uniques = {key.removeprefix("unique:"): id for key, id in there.keys.items() if key.startswith("unique:")}
        assert uniques == model.unique
        before = {id: int(nth) for id, nth in there.keys.get("deliveries", {}).items()}
        assert before == {id: one.before for id, one in model.living.items() if one.before}
        assert set(there.keys.get("cancels", {})) == {id for id, one in model.living.items() if one.cancelling}
        places = {(id, queue) for (queue, _), ids in there.lines.items() for id in ids}
        places |= {(id, queue) for queue, ids in there.delayed.items() for id in ids}
        places |= {(id, queue) for entries in there.limit_lists.values() for queue, _, id in entries}
        places |= {(id, one.queue) for id, one in there.inflight.items()}
        assert {(id, one.queue) for id, one in model.living.items()} <= places

    def teardown(self) -> None:
        """A plain worker does all that is left, in no more calls than there are places, and leaves nothing behind."""
        try:
            if self.begun:
                self.drain()
        finally:
            self.client.close()

    def drain(self) -> None:
        for queue in LANES:
            self.queues.rule(queue, intake="open", most=0, mark=0)
            self.rules[queue] = {}
        for worker in list(self.model.workers):
            self.leave(worker, repeat=False)
        there = Truth(self.client)
        calls = 2 * (len(there.msgs) + sum(map(len, there.lines.values())) + sum(map(len, there.limit_lists.values())))
        for _ in range(calls + 5):
            if not self.model.living:
                break
            self.fetch("last", 4, judges=False, asked=list(LANES), heard=True)
            held = self.model.holds("last")
            args = [value for id, one in held.items() for value in ("done", id, one.token, LEASE_MS, "", "", 0)]
            assert self.call["settle"]("last", len(held), *args) == [1] * len(held)
            for id in held:
                self.model.settle(id, "done")
            self.is_as_it_should_be()
            self.pass_an_hour()
        assert not self.model.living
        for id in list(self.model.dead):
            self.discard(self.ids.index(id), repeat=False)
        # Places that outlived their messages go when somebody comes by.
        for _ in range(2):
            self.fetch("last", 4, judges=False, asked=list(LANES), heard=True)
            self.pass_an_hour()
        self.leave("last", repeat=False)
        there = Truth(self.client)
        assert not {
            key: value for key, value in there.keys.items() if key not in LASTING and not key.startswith("wake")
        }
        for name in ("queues", "busy", "limited"):
            assert set(there.keys.get(name, {}).values()) <= {"0"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    with running(tmp_path_factory.mktemp("engine")) as engine:
        with engine.client() as client:
            # What is lost with the engine is not the question here.
            client.config_set("appendonly", "no")
        yield engine


def run(engine: Engine, *, examples: int, steps: int, **more: object) -> None:
    QueueMachine.engine = engine
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            print_blob=False,
            **more,
        ),
    )


def test_every_message_is_in_one_place_and_comes_to_an_end(engine: Engine):
    run(
        engine,
        examples=int(os.environ.get("QUEUE_MODEL_EXAMPLES", "100")),
        steps=40,
        derandomize=True,
        phases=[Phase.generate],
    )


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_every_message_is_in_one_place_and_comes_to_an_end_in_long_stories(
    engine: Engine, request: pytest.FixtureRequest
):
    if "chaos" not in request.config.option.markexpr:
        pytest.skip("it takes minutes: `make chaos` tells long stories")
    run(engine, examples=300, steps=80, phases=[Phase.generate, Phase.shrink])
