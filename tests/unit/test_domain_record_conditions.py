"""Conditions in headers, and the state they ask for."""

from __future__ import annotations

import falcon.asgi
import falcon.testing
import pytest

from api_shim.conditions import is_known, write_condition
from api_shim.problem import Problem
from backroom.domain.record import Condition


def request(**headers: str) -> falcon.asgi.Request:
    return falcon.testing.create_asgi_req(headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({}, Condition()),
        ({"If_Match": "*"}, Condition(exists=True)),
        ({"If_None_Match": " * "}, Condition(exists=False)),
        ({"If_Match": '"3"'}, Condition(versions=(3,))),
        ({"If_Match": '"3" , "12"'}, Condition(versions=(3, 12))),
        ({"If_Match": '"a,b", "12"'}, Condition(versions=(12,))),
        # Compared strongly: a weak tag is never the same, and neither is one that we did not make.
        ({"If_Match": 'W/"3"'}, Condition(versions=())),
        ({"If_Match": '"03", "x", ""'}, Condition(versions=())),
    ],
)
def test_a_write_says_in_which_state_it_wants_its_record(headers: dict[str, str], condition: Condition) -> None:
    assert write_condition(request(**headers)) == condition


@pytest.mark.parametrize("text", ["3", "", " ", '"3', '3"', '"1" "2"', "*, *", 'w/"1"', '"a b"'])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(Problem) as told:
        write_condition(request(If_Match=text))

    assert (told.value.status, told.value.body["header"]) == (400, "If-Match")


@pytest.mark.parametrize(
    ("header", "known"),
    [('"2"', True), ('W/"2"', True), ('"1", "2"', True), ("*", True), ('"1"', False), ('""', False)],
)
def test_a_reader_that_has_the_version_need_not_get_it_again(header: str, known: bool) -> None:  # noqa: FBT001
    assert is_known(request(If_None_Match=header), 2) is known


def test_a_reader_that_insists_on_another_version_is_told() -> None:
    with pytest.raises(Problem) as told:
        is_known(request(If_Match='"1"'), 2)

    assert (told.value.status, told.value.headers) == (412, {"ETag": '"2"'})
    assert is_known(request(If_Match='"2"'), 2) is False
    assert is_known(request(If_Match="*"), 2) is False


def test_a_condition_holds_in_its_state_only() -> None:
    assert Condition().holds(None)
    assert Condition(exists=True).holds(1)
    assert not Condition(exists=True).holds(None)
    assert Condition(exists=False).holds(None)
    assert not Condition(exists=False).holds(1)
    assert Condition(versions=(1, 2)).holds(2)
    assert not Condition(versions=(1, 2)).holds(3)
    assert not Condition(versions=(1, 2)).holds(None)
    assert not Condition(versions=()).holds(1)
