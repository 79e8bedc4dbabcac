"""An alert fires once, after its hold, and resolves once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.alerting import CROWD, LAPSE, MOST_OPEN, Standing, crowd, next_step, notice, title
from backroom.domain.rule import Clear, Finding
from backroom.words import Words

START = datetime(2026, 11, 23, tzinfo=UTC)
FINDING = Finding(about="web-1", says="it is wrong")
CLEAR = Clear(about="web-1", says="it is fine")

holds = st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=10))
said = st.sampled_from([FINDING, CLEAR, None])
checks = st.lists(st.tuples(st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=12)), said), max_size=40)


def play(checks, hold):
    """Carry out what is decided, as the store would: yields each check's time, what was said, and the step."""
    now, standing = START, None
    for wait, one in checks:
        now += wait
        before, step = standing, next_step(standing, one, now=now, hold=hold)
        if step in {"watch", "fire"}:
            found_at = standing.found_at if standing and step == "fire" else now
            standing = Standing(state="firing" if step == "fire" else "pending", found_at=found_at, seen_at=now)
        elif step == "see":
            standing = Standing(state=standing.state, found_at=standing.found_at, seen_at=now)
        elif step in {"forget", "resolve"}:
            standing = None
        yield now, one, before, step


@given(checks=checks, hold=holds)
def test_an_alert_never_fires_twice_without_being_resolved_between(checks, hold):
    told = [step for *_, step in play(checks, hold) if step in {"fire", "resolve"}]

    assert told == ["fire", "resolve"] * (len(told) // 2) + ["fire"] * (len(told) % 2)


@given(checks=checks, hold=holds)
def test_an_alert_never_fires_before_its_finding_has_stood_for_the_hold(checks, hold):
    since = None
    for now, one, _, step in play(checks, hold):
        since = None if one is CLEAR else since or (now if one is FINDING else None)
        if step == "fire":
            assert now - since >= hold


@given(checks=checks, hold=holds)
def test_nothing_is_told_unless_something_was_said(checks, hold):
    for _, one, before, step in play(checks, hold):
        if one is None:
            assert step == "leave"
        if one is CLEAR:
            assert step in {"leave", "forget", "resolve"}
            assert (step == "leave") == (before is None)


@given(hold=holds, gap=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(minutes=1)))
def test_a_finding_that_goes_on_fires_in_the_end(hold, gap):
    checks = [(gap, FINDING)] * (int(hold / gap) + 2)

    assert [step for *_, step in play(checks, hold)].count("fire") == 1


def test_a_finding_that_passed_before_its_hold_was_over_is_forgotten_and_told_to_nobody():
    steps = [step for *_, step in play([(timedelta(0), FINDING), (timedelta(seconds=30), CLEAR)], timedelta(minutes=2))]

    assert steps == ["watch", "forget"]


def test_a_hold_begins_anew_when_nobody_has_looked_for_long():
    pending = Standing(state="pending", found_at=START, seen_at=START)

    step = next_step(pending, FINDING, now=START + LAPSE + timedelta(seconds=1), hold=timedelta(minutes=2))

    assert step == "watch"


def test_a_finding_after_the_end_is_a_new_alert():
    checks = [(timedelta(0), FINDING), (timedelta(minutes=1), CLEAR), (timedelta(minutes=1), FINDING)]

    assert [step for *_, step in play(checks, timedelta(0))] == ["fire", "resolve", "fire"]


def test_thousands_of_findings_become_a_few_alerts_and_one_that_counts_the_rest():
    findings = [Finding(about=f"source {number}", says="") for number in range(3_000)]

    kept = crowd(findings, known=[])

    assert len(kept) == MOST_OPEN + 1
    assert kept[-1].about == CROWD
    assert kept[-1].evidence == {"found": 3_000 - MOST_OPEN}


def test_what_is_known_goes_on_being_seen_however_much_there_is():
    known = [f"source {number}" for number in range(MOST_OPEN)]
    findings = [Finding(about=about, says="") for about in ["a new one", *known]]

    kept = [one.about for one in crowd(findings, known=known)]

    assert kept == [*known, CROWD]


def test_the_crowd_is_over_when_everything_found_has_an_alert_of_its_own():
    (kept,) = crowd([], known=[CROWD])

    assert isinstance(kept, Clear)
    assert kept.about == CROWD


@pytest.mark.parametrize(("name", "reads"), [("memory.low", "Memory low"), ("carrier.not_paid", "Carrier not paid")])
def test_a_rules_name_reads_as_a_title(name, reads):
    assert title(name) == reads


@given(
    about=st.text(max_size=400),
    says=st.text(min_size=1, max_size=900),
    evidence=st.dictionaries(
        st.text(max_size=90), st.one_of(st.text(max_size=500), st.integers(), st.lists(st.text())), max_size=30
    ),
    state=st.sampled_from(["firing", "resolved"]),
)
def test_whatever_a_rule_says_fits_the_letter_to_the_administrators(about, says, evidence, state):
    data = notice(
        rule="memory.low", about=about, says=says, severity="critical", state=state, evidence=evidence, since=START
    )

    WORDS.check("admin_notice", data)


WORDS = Words([Path(__file__).parents[2] / "templates"])
