"""A turn of the queue's benchmark, on a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks._queue_crew import Ground, Party, Stuck, crew
from benchmarks._queue_turns import Size, delay, play
from benchmarks.peers._place import Side
from benchmarks.peers._shelf import Entry, entries
from tests.integration.queue_engine import running

SMALL = Size(share=0.01, single=40, pick_ups=(2, 2), pause=(0.01, 0.02), rest=0.05, load=0.1)
OUR_KIND = [Party(entry=entry, side=entry.sides[0]) for entry in entries() if not entry.requires]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with running(tmp_path) as engine:
        yield Ground(folder=tmp_path, valkey=engine.url, postgres="", durable=True)


@pytest.mark.parametrize("party", OUR_KIND, ids=lambda party: party.name)
def test_a_side_plays_a_turn(party: Party, ground: Ground):
    turn = play(party, ground, SMALL, job="nothing", processes=1, looks=True)

    assert turn.one_by_one > 0
    assert turn.drain > 0
    assert (turn.bulk is None) == (party.name != "ours")
    assert turn.looks is not None
    assert len(turn.looks.pick_ups) == 2
    assert turn.looks.megabytes > 1
    assert len(turn.looks.loaded) > 0


def test_two_processes_share_jobs_that_call_valkey(ground: Ground):
    party = next(party for party in OUR_KIND if party.name == "ours")

    assert play(party, ground, SMALL, job="call", processes=2, looks=False).drain > 0


def test_jobs_that_wait_for_one_moment_all_run(ground: Ground):
    party = next(party for party in OUR_KIND if party.name == "ours")

    delayed = delay(party, ground, jobs=200, sent_per_second=15_000)

    assert delayed.engine_bytes_each > 0
    assert delayed.rate > 0


def test_a_peer_that_cannot_start_says_its_last_words(ground: Ground):
    nobody = Party(entry=Entry(name="nobody", requires=(), sides=()), side=Side(name="Nobody", jobs=1))

    with (
        pytest.raises(Stuck, match=r"_send .* No module named 'benchmarks.peers.nobody'"),
        crew(nobody, ground),
    ):
        pass
