"""Merge patches as RFC 7396 shows them, and documents that cannot be kept."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.document import MOST_BYTES, MOST_LEVELS, TooLarge, check_document
from backroom.domain.errors import Invalid
from backroom.domain.merge_patch import merge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


# The table of appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_standard_shows(target: Any, patch: Any, merged: Any) -> None:
    assert merge(target, patch) == merged


@given(JSON, JSON)
def test_a_merge_patch_changes_nothing_twice_and_nothing_in_place(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))

    once = merge(target, patch)

    assert merge(once, patch) == once
    assert (target, patch) == before


def test_a_document_is_measured_as_compact_json() -> None:
    check_document({"a": "x" * (MOST_BYTES - len('{"a":""}'))})

    with pytest.raises(TooLarge) as told:
        check_document({"a": "x" * (MOST_BYTES - len('{"a":""}') + 1)})

    assert (told.value.size, told.value.limit) == (MOST_BYTES + 1, MOST_BYTES)


def test_what_postgresql_cannot_hold_is_named() -> None:
    with pytest.raises(Invalid) as told:
        check_document({"a": [{"b/c": "x\x00"}]}, field="/state")

    assert told.value.field == "/state/a/0/b~1c"
    with pytest.raises(Invalid):
        check_document({"\x00": 1})


def test_a_document_has_a_bottom() -> None:
    document: dict[str, Any] = {}
    for _ in range(MOST_LEVELS - 1):
        document = {"a": document}
    check_document(document)

    with pytest.raises(Invalid):
        check_document({"a": document})
