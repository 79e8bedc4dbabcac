"""What a write does to a record, against a model that does one thing after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.record import Condition, Kept, Outcome, Place, Write, decide

ANY = Condition()
VALUES = st.none() | st.fixed_dictionaries({"n": st.integers(0, 3)})
CONDITIONS = (
    st.just(ANY)
    | st.builds(Condition, exists=st.booleans())
    | st.builds(Condition, versions=st.lists(st.integers(0, 6), max_size=2).map(tuple))
)
WRITES = st.lists(
    st.builds(
        Write,
        # Few ids, so that some come twice, as a message does that is delivered again.
        id=st.integers(0, 30).map(str),
        place=st.builds(Place, collection=st.just("c"), owner=st.sampled_from(["", "anna"]), key=st.sampled_from("ab")),
        value=VALUES,
        condition=CONDITIONS,
    ),
    max_size=40,
)


def place(key: str = "a") -> Place:
    return Place(collection="c", owner="", key=key)


def put(id: str, value: dict[str, Any] | None, condition: Condition = ANY) -> Write:
    return Write(id=id, place=place(), value=value, condition=condition)


@dataclass
class Model:
    """A shop that serves one customer at a time, and remembers everybody."""

    values: dict[Place, dict[str, Any]] = field(default_factory=dict)
    versions: dict[Place, int] = field(default_factory=dict)
    served: dict[str, tuple[int, int]] = field(default_factory=dict)

    def serve(self, write: Write) -> tuple[int, int]:
        if write.id not in self.served:
            self.served[write.id] = self._act(write)
        return self.served[write.id]

    def _act(self, write: Write) -> tuple[int, int]:
        there = write.place in self.values
        version = self.versions.get(write.place, 0) if there else 0
        wanted = write.condition
        if wanted.exists is True and not there:
            return 412, 0
        if wanted.exists is False and there:
            return 412, version
        if wanted.versions is not None and not (there and version in wanted.versions):
            return 412, version
        if write.value is None and not there:
            return 404, 0
        self.versions[write.place] = self.versions.get(write.place, 0) + 1
        if write.value is None:
            del self.values[write.place]
            return 204, self.versions[write.place]
        self.values[write.place] = write.value
        return (200 if there else 201), self.versions[write.place]


@given(WRITES, st.lists(st.integers(0, 40), max_size=5))
def test_writes_come_to_the_same_however_they_are_cut_into_batches(writes: list[Write], cuts: list[int]) -> None:
    model = Model()
    expected = [model.serve(write) for write in writes]

    kept: dict[Place, Kept] = {}
    done: dict[str, Outcome] = {}
    told: list[tuple[int, int]] = []
    edges = sorted({0, len(writes), *(cut for cut in cuts if cut < len(writes))})
    for start, end in pairwise(edges):
        decided = decide(writes[start:end], kept=kept, done=done)
        kept |= decided.changed
        done |= {id: outcome for id, (_, outcome) in decided.fresh.items()}
        told += [(outcome.status, outcome.version) for _, outcome, _ in decided.told]

    assert told == expected
    assert {at: one.value for at, one in kept.items() if one.value is not None} == model.values
    assert {at: one.version for at, one in kept.items()} == model.versions


@given(WRITES)
def test_a_version_never_stands_for_two_values(writes: list[Write]) -> None:
    seen: dict[tuple[Place, int], object] = {}

    decided = decide(writes, kept={}, done={})

    for write, outcome, kept in decided.told:
        if outcome.status in {200, 201} and decided.fresh[write.id][0] is write:
            assert kept is not None
            assert seen.setdefault((write.place, kept.version), kept.value) == kept.value


def test_of_two_who_saw_the_same_version_the_first_wins() -> None:
    there = {place(): Kept(version=3, value={"n": 0})}
    saw = Condition(versions=(3,))

    decided = decide([put("1", {"n": 1}, saw), put("2", {"n": 2}, saw)], kept=there, done={})

    assert [outcome.status for _, outcome, _ in decided.told] == [200, 412]
    # Who lost is told what is there, which the first one wrote.
    assert decided.told[1][2] == Kept(version=4, value={"n": 1})
    assert decided.changed == {place(): Kept(version=4, value={"n": 1})}


def test_a_message_that_comes_again_hears_its_first_outcome_and_changes_nothing() -> None:
    there = {place(): Kept(version=9, value={"n": 9})}

    decided = decide([put("1", {"n": 1})], kept=there, done={"1": Outcome(status=201, version=1)})

    assert [outcome for _, outcome, _ in decided.told] == [Outcome(status=201, version=1)]
    assert not decided.changed
    assert not decided.fresh


def test_a_record_that_comes_back_goes_on_counting_and_is_new() -> None:
    gone = {place(): Kept(version=5, value=None)}

    decided = decide([put("1", {"n": 1}, Condition(exists=False))], kept=gone, done={})

    assert decided.changed == {place(): Kept(version=6, value={"n": 1}, born=True)}


def test_what_is_created_and_replaced_in_one_batch_is_still_new() -> None:
    decided = decide([put("1", {"n": 1}), put("2", {"n": 2})], kept={}, done={})

    assert [outcome.status for _, outcome, _ in decided.told] == [201, 200]
    assert decided.changed[place()] == Kept(version=2, value={"n": 2}, born=True)
