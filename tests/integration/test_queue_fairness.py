"""Whatever floods a queue, a message waits for a bounded number of others only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backroom.queue.open import Script, open_client
from backroom.queue.rows import HEADER
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, post, running

APPS = ("", "a", "b")
# One of ten taken goes to the lower classes, which take turns where there is room for one only.
SHARE = 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(Path(tmp_path_factory.mktemp("engine"))) as engine:
        yield engine


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    capacity=st.integers(1, 6),
    arrivals=st.dictionaries(
        st.integers(0, 59),
        st.lists(
            st.tuples(st.sampled_from(("urgent", "normal", "bulk", "bulk")), st.sampled_from(APPS)),
            min_size=1,
            max_size=3,
        ),
        min_size=3,
        max_size=20,
    ),
)
def test_a_flood_of_urgent_messages_starves_nothing(engine: Engine, capacity: int, arrivals: dict[int, list]):
    ahead: dict[str, int] = {}
    sent_at: dict[str, int] = {}
    waiting: Counter[tuple[str, str]] = Counter()
    line_of: dict[str, tuple[str, str]] = {}
    taken = 0
    with open_client(engine.url) as client:
        client.flushdb()
        sender = Sender(client, prefix="br")
        fetch, settle = (Script(client, name, prefix="br") for name in ("fetch", "settle"))
        for step in range(60):
            # More than anybody takes, of one application.
            new = [*(("urgent", "") for _ in range(capacity)), *arrivals.get(step, [])]
            for n, (priority, app) in enumerate(new):
                id = f"{step}-{n}"
                sender.send([post("note", id=id, priority=priority, app=app)])
                waiting[priority, app] += 1
                line_of[id], ahead[id], sent_at[id] = (priority, app), waiting[priority, app], taken
            rows = fetch("w", 60_000, capacity, 0, 0, 1, "work", 0, 0, 0)[HEADER:]
            ids = [id.decode() for id in rows[2::6]]
            tokens = rows[3::6]
            orders = [
                value for id, token in zip(ids, tokens, strict=True) for value in ("done", id, token, 0, "", "", 0)
            ]
            assert settle("w", len(ids), *orders) == [1] * len(ids)
            taken += len(ids)
            assert len(ids) == capacity
            for id in ids:
                waiting[line_of[id]] -= 1
                del sent_at[id]
            for id, since in sent_at.items():
                if line_of[id] != ("urgent", ""):
                    # Those before it in its line, as often as there are lines that take turns, as often as its class.
                    assert taken - since <= ahead[id] * len(APPS) * SHARE + SHARE
