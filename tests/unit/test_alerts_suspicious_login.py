"""Somebody who tries many passwords is found; somebody who mistyped one is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerts.suspicious_login import suspicious_login
from backroom.domain.rule import Clear, Finding, Login

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Sight:
    """A sight of these tries to sign in."""

    tries: list[Login]
    known: dict[str, datetime] = field(default_factory=dict)
    settings: dict[str, float] = field(default_factory=dict)
    at: datetime = NOW

    def now(self):
        return self.at

    def logins(self, *, within):
        return sorted(
            (login for login in self.tries if self.at - within < login.at <= self.at), key=lambda login: login.at
        )

    def open(self):
        return self.known

    def setting(self, name, default):
        return self.settings.get(name, default)


def login(ago, source="203.0.113.7", account="u1", *, succeeded=False):
    return Login(at=NOW - timedelta(seconds=ago), source=source, account=account, succeeded=succeeded)


def look(tries, *, open=(), at=NOW, **settings):
    said = list(suspicious_login(Sight(list(tries), dict.fromkeys(open, NOW), settings, at)))
    found = {one.about: one for one in said if isinstance(one, Finding)}
    cleared = {one.about for one in said if isinstance(one, Clear)}
    assert len(found) + len(cleared) == len(said), "each is said once"
    return found, cleared


def test_five_failures_are_nobodys_business_and_the_sixth_is():
    assert look(login(1) for _ in range(5)) == ({}, set())

    found, _ = look(login(1) for _ in range(6))

    assert list(found) == ["source 203.0.113.7"]
    finding = found["source 203.0.113.7"]
    assert finding.says == "6 sign-ins failed from 203.0.113.7, on 1 account"
    assert finding.evidence["buckets"] == ["quick"]


def test_a_patient_attacker_overflows_the_slow_bucket():
    found, _ = look(login(30 * number, account=f"u{number}") for number in range(30))

    assert found["source 203.0.113.7"].evidence["buckets"] == ["slow"]
    assert found["source 203.0.113.7"].evidence["accounts"] == 30


def test_a_failure_a_minute_is_a_forgetful_office_and_not_an_attack():
    assert look(login(60 * number, account=f"u{number}") for number in range(60)) == ({}, set())


def test_an_account_that_is_tried_from_everywhere_is_found_though_no_source_does_much():
    found, _ = look(login(60 * number, source=f"198.51.100.{number % 5}") for number in range(10))

    assert list(found) == ["account u1"]
    assert found["account u1"].evidence["source_count"] == 5


def test_ten_failures_from_four_sources_are_not_from_everywhere():
    assert look(login(60 * number, source=f"198.51.100.{number % 4}") for number in range(10)) == ({}, set())


def test_a_success_after_five_failures_is_said_apart():
    tries = [*(login(100 - 15 * number) for number in range(5)), login(1, succeeded=True)]

    found, _ = look(tries)

    assert list(found) == ["sign-in to account u1"]
    assert found["sign-in to account u1"].says == "Somebody signed in to account u1 after 5 failures"


def test_a_success_after_four_failures_is_a_user_who_remembered():
    assert look([*(login(100 - 15 * number) for number in range(4)), login(1, succeeded=True)]) == ({}, set())


def test_an_alert_is_cleared_when_nothing_came_for_the_cool_down():
    burst = [login(0) for _ in range(6)]
    open = ["source 203.0.113.7"]

    assert look(burst, open=open, at=NOW + timedelta(seconds=299))[1] == set()
    assert look(burst, open=open, at=NOW + timedelta(seconds=300)) == ({}, set(open))


def test_a_few_more_failures_keep_an_alert_open():
    tries = [*(login(1_100) for _ in range(12)), login(60)]

    _, cleared = look(tries, open=["source 203.0.113.7"])

    assert cleared == set()


def test_one_failure_after_the_end_is_not_the_attack_again():
    tries = [*(login(400) for _ in range(6)), login(10)]

    assert look(tries) == ({}, set())


def test_what_is_open_and_was_never_seen_again_is_cleared():
    _, cleared = look([], open=["source 203.0.113.7", "account u1", "sign-in to account u2"])

    assert cleared == {"source 203.0.113.7", "account u1", "sign-in to account u2"}


def test_administrators_set_every_threshold():
    tries = [login(1), login(1)]

    assert look(tries) == ({}, set())
    assert "source 203.0.113.7" in look(tries, capacity=1)[0]
    assert look((login(1) for _ in range(20)), capacity=100, slow_capacity=100) == ({}, set())
    assert look([login(12) for _ in range(6)], open=["source 203.0.113.7"], cool_down_seconds=12, leak_seconds=0.1)[1]


def test_a_burst_is_not_calm_before_anybody_had_a_chance_to_look():
    found, _ = look([login(9) for _ in range(8)], cool_down_seconds=0, leak_seconds=0.1)

    assert "source 203.0.113.7" in found


def test_settings_of_zero_break_nothing():
    tries = [login(1), login(1), login(0, succeeded=True)]
    names = [
        "capacity",
        "leak_seconds",
        "slow_capacity",
        "slow_leak_seconds",
        "account_failures",
        "account_sources",
        "account_within_seconds",
        "failures_before_success",
        "cool_down_seconds",
    ]

    look(tries, **dict.fromkeys(names, 0))
    look(tries, **dict.fromkeys(names, 1e9))


@given(
    st.lists(
        st.builds(
            login,
            st.integers(min_value=0, max_value=3_000),
            source=st.sampled_from(["", "203.0.113.7", "203.0.113.8", "2001:db8::1"]),
            account=st.sampled_from(["", "u1", "u2"]),
            succeeded=st.booleans(),
        ),
        max_size=60,
    )
)
def test_nothing_is_found_and_cleared_at_once_and_in_the_end_all_is_calm(tries):
    found, cleared = look(tries, open=["source 203.0.113.7", "account u1"])

    assert not found.keys() & cleared
    later, all_clear = look(tries, open=list(found), at=NOW + timedelta(hours=2))
    assert later == {}
    assert all_clear == set(found)
