"""`traceparent`, to the letter of the standard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.trace import Trace, begin, following, parse

ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("said", "sampled"),
    [
        (f"00-{ID}-{PARENT}-01", True),
        (f"00-{ID}-{PARENT}-00", False),
        # Flags that we do not know say nothing to us.
        (f"00-{ID}-{PARENT}-fe", False),
        (f"00-{ID}-{PARENT}-ff", True),
        # A later version, as far as we know it.
        (f"cc-{ID}-{PARENT}-01", True),
        (f"cc-{ID}-{PARENT}-01-what-the-future-says", True),
        (f"01-{ID}-{PARENT}-01-", True),
    ],
)
def test_a_valid_traceparent_is_read(said, sampled):
    assert parse(said) == Trace(id=ID, parent=PARENT, sampled=sampled)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "-",
        f"00-{ID}-{PARENT}",
        f"00-{ID}-{PARENT}-",
        f"00-{ID}-{PARENT}-1",
        f"00-{ID}-{PARENT}-001",
        # Of this version nothing more is known.
        f"00-{ID}-{PARENT}-01-",
        f"00-{ID}-{PARENT}-01-more",
        # Of a later one it begins with a hyphen.
        f"cc-{ID}-{PARENT}-01.more",
        # A version that is none.
        f"ff-{ID}-{PARENT}-01",
        f"0-{ID}-{PARENT}-01",
        f"000-{ID}-{PARENT}-01",
        # Lower case only.
        f"00-{ID.upper()}-{PARENT}-01",
        f"00-{ID}-{PARENT.upper()}-01",
        f"CC-{ID}-{PARENT}-01",
        f"00-{ID}-{PARENT}-0A",
        # Nobody.
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{ID}-{'0' * 16}-01",
        # Lengths and digits.
        f"00-{ID[:-1]}-{PARENT}-01",
        f"00-{ID}0-{PARENT}-01",
        f"00-{ID}-{PARENT[:-1]}-01",
        f"00-{ID[:-1]}g-{PARENT}-01",
        f"00-{ID[:-1]}.-{PARENT}-01",
        f"00_{ID}_{PARENT}_01",
        # Two headers, as a server joins them.
        f"00-{ID}-{PARENT}-01,00-{ID}-{PARENT}-01",
        f" 00-{ID}-{PARENT}-01",
        f"00-{ID}-{PARENT}-01 ",
        f"00-{ID}-{PARENT}-01\n",
        # Digits of other scripts.
        f"00-{ID[:-1]}٣-{PARENT}-01",
    ],
)
def test_what_is_not_valid_is_ignored_and_a_new_trace_begins(said):
    assert parse(said) is None
    assert following(said).id not in {ID, "0" * 32}


def test_a_child_keeps_the_trace_and_has_a_step_of_its_own():
    child = following(f"00-{ID}-{PARENT}-01")

    assert (child.id, child.sampled) == (ID, True)
    assert child.parent not in {PARENT, "0" * 16}
    # We speak version 0, and set no flag that it does not define.
    assert str(following(f"cc-{ID}-{PARENT}-fe")).startswith(f"00-{ID}-")
    assert str(following(f"cc-{ID}-{PARENT}-fe")).endswith("-00")


def test_what_we_begin_is_valid_and_told_apart():
    traces = [begin() for _ in range(100)]

    assert all(parse(str(one)) == one for one in traces)
    assert len({one.id for one in traces}) == len({one.parent for one in traces}) == 100


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True))
def test_whatever_is_said_what_goes_on_is_valid(said):
    assert parse(str(following(said))) is not None
