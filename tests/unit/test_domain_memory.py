"""What is available is what is left within the tightest limit around us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.memory import Group, Machine, memory, size

GIB = 2**30
sizes = st.integers(min_value=0, max_value=2**50)
groups = st.lists(st.builds(Group, limit=sizes, current=sizes, inactive_file=sizes), max_size=5)


def test_without_a_limit_it_is_the_machines_own_number():
    left = memory(Machine(total=8 * GIB, available=3 * GIB), [])

    assert (left.limit, left.available, left.limited_by) == (8 * GIB, 3 * GIB, "host")


def test_within_a_control_group_the_cache_that_is_given_back_first_counts_as_free():
    group = Group(limit=2 * GIB, current=int(1.9 * GIB), inactive_file=int(0.9 * GIB))

    left = memory(Machine(total=64 * GIB, available=50 * GIB), [group])

    assert left.limited_by == "cgroup"
    assert left.limit == 2 * GIB
    assert left.available == pytest.approx(GIB, abs=2)


def test_a_machine_that_is_full_leaves_nothing_to_a_group_with_room():
    group = Group(limit=2 * GIB, current=GIB // 2, inactive_file=0)

    assert memory(Machine(total=64 * GIB, available=GIB // 4), [group]).available == GIB // 4


def test_a_parent_that_is_full_of_its_other_children_leaves_nothing():
    own, parent = (
        Group(limit=2 * GIB, current=0, inactive_file=0),
        Group(limit=4 * GIB, current=4 * GIB, inactive_file=0),
    )

    left = memory(Machine(total=64 * GIB, available=50 * GIB), [own, parent])

    assert (left.limit, left.available) == (2 * GIB, 0)


@given(total=sizes, available=sizes, groups=groups)
def test_what_is_available_is_never_more_than_the_limit_or_the_machines_own_number(total, available, groups):
    left = memory(Machine(total=total, available=available), groups)

    assert 0 <= left.available <= min(left.limit, available)
    assert left.limit == min([total, *(group.limit for group in groups)])


@pytest.mark.parametrize(
    ("count", "reads"),
    [(0, "0 B"), (1023, "1023 B"), (412 * 2**20, "412 MiB"), (int(9.6 * GIB), "9.6 GiB"), (2**50, "1024 TiB")],
)
def test_a_size_reads_as_people_say_it(count, reads):
    assert size(count) == reads
