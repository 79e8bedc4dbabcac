"""When a session is over, and which of many saves counts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.session import (
    ENDED_KEPT,
    LATEST_SAVE,
    PRESETS,
    TOMBSTONE_FOR,
    TOUCHED_EVERY,
    Save,
    Session,
    begin,
    mint_token,
    newest,
    token_hash,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def session(*, idle: int = 1_800, lifetime: int = 43_200) -> Session:
    return begin(user="", state={}, idle=timedelta(seconds=idle), lifetime=timedelta(seconds=lifetime), now=NOW)


def save(hash: str, revision: int, *, ended: bool = False, age: timedelta = timedelta(0)) -> Save:
    return Save(token_hash=hash, revision=revision, session=session(), at=NOW - age, ended=ended)


def test_a_session_is_over_when_left_alone_for_too_long() -> None:
    one = session(idle=900)

    assert not one.is_over(NOW + timedelta(seconds=899))
    assert one.is_over(NOW + timedelta(seconds=900))
    assert not one.touched(NOW + timedelta(seconds=899)).is_over(NOW + timedelta(seconds=1_798))


def test_a_session_is_over_at_its_end_however_busy_it_was() -> None:
    one = session(idle=900, lifetime=1_000).touched(NOW + timedelta(seconds=800))

    assert one.lapses_at == NOW + timedelta(seconds=1_000)
    assert one.is_over(NOW + timedelta(seconds=1_000))


def test_a_visit_is_noted_once_a_minute_and_changes_no_version() -> None:
    one = session()

    assert not one.is_due_for_touch(NOW + TOUCHED_EVERY - timedelta(seconds=1))
    assert one.is_due_for_touch(NOW + TOUCHED_EVERY)
    assert one.touched(NOW + TOUCHED_EVERY).version == one.version
    # A short session would be over before its first note.
    assert session(idle=60).is_due_for_touch(NOW + timedelta(seconds=15))


def test_a_clock_that_runs_behind_takes_no_visit_back() -> None:
    assert session().touched(NOW - timedelta(minutes=5)).seen_at == NOW


def test_a_change_counts_one_version_and_is_a_visit() -> None:
    changed = session().with_state({"n": 1}, now=NOW + timedelta(minutes=1))

    assert (changed.version, changed.state, changed.seen_at) == (2, {"n": 1}, NOW + timedelta(minutes=1))


def test_a_hot_copy_is_never_kept_longer_than_the_session_lasts() -> None:
    for idle, lifetime in PRESETS.values():
        one = session(idle=int(idle.total_seconds()), lifetime=int(lifetime.total_seconds()))

        assert NOW + one.hot_for(NOW) <= one.lapses_at


@given(st.lists(st.builds(save, st.sampled_from("abc"), st.integers(1, 20), ended=st.booleans()), max_size=30))
def test_one_save_of_each_session_counts_the_end_before_all_others(saves: list[Save]) -> None:
    kept = newest(saves, now=NOW)

    assert [one.token_hash for one in kept] == sorted({one.token_hash for one in saves})
    for one in kept:
        mine = [other for other in saves if other.token_hash == one.token_hash]
        assert one.ended == any(other.ended for other in mine)
        assert one.revision == max(other.revision for other in mine if other.ended == one.ended)


def test_a_save_that_could_miss_the_row_of_its_ended_session_is_left_out() -> None:
    assert newest([save("a", 1, age=LATEST_SAVE)], now=NOW) == []
    assert LATEST_SAVE < ENDED_KEPT
    assert len(newest([save("a", 1, age=LATEST_SAVE - timedelta(seconds=1))], now=NOW)) == 1
    assert TOMBSTONE_FOR < LATEST_SAVE


def test_a_token_has_43_characters_and_only_its_hash_is_kept() -> None:
    source = random.Random(1)
    token = mint_token(source.randbytes)

    assert len(token) == 43
    assert token_hash(token) is not None
    assert token not in (token_hash(token) or "")
    assert token_hash(token) != token_hash(mint_token(source.randbytes))


def test_what_is_no_token_has_no_hash() -> None:
    for text in ("", "short", "A" * 42, "A" * 44, "A" * 42 + "!", "A" * 43 + "\n", "é" * 43):
        assert token_hash(text) is None
