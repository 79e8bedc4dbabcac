"""Which letters one notification becomes."""

from __future__ import annotations

from typing import Any

import pytest

from backroom.domain.notification import NotificationType, Planned, Skipped, letters_for

CARRIERS = {"inbox": "", "email": "email", "sms": "phone"}
ADA = {"email": "ada@example.com", "phone": "+436601234567"}


def notification(**changes: Any) -> NotificationType:
    values: dict[str, Any] = {
        "name": "greeting",
        "about": "Says hello.",
        "category": "transactional",
        "mediums": ("inbox", "email", "sms"),
        "strategy": "all",
        "after_crash": "report",
        "public": True,
        "schema": {},
        "example": {},
    }
    return NotificationType(**values | changes)


def test_all_writes_over_every_medium_in_the_types_order() -> None:
    plan = letters_for(notification(), user="u-1", contacts=ADA, carriers=CARRIERS)
    assert plan == [
        Planned(medium="inbox", to="u-1"),
        Planned(medium="email", to="ada@example.com"),
        Planned(medium="sms", to="+436601234567"),
    ]


def test_what_is_missing_is_a_reason_not_a_silence() -> None:
    plan = letters_for(notification(), user="u-1", contacts={"email": ""}, carriers={"inbox": "", "email": "email"})
    assert plan[1:] == [Skipped(medium="email", reason="no_contact"), Skipped(medium="sms", reason="no_carrier")]


@pytest.mark.parametrize(
    ("contacts", "planned", "reasons"),
    [
        (ADA, "sms", {"email": "earlier_medium"}),
        ({"email": "ada@example.com"}, "email", {"sms": "no_contact"}),
        ({}, None, {"sms": "no_contact", "email": "no_contact"}),
    ],
)
def test_first_writes_over_the_first_medium_the_reader_can_be_reached_by(
    contacts: dict[str, str], planned: str | None, reasons: dict[str, str]
) -> None:
    kind = notification(mediums=("sms", "email"), strategy="first")
    plan = letters_for(kind, user="u-1", contacts=contacts, carriers=CARRIERS)
    assert [letter.medium for letter in plan if isinstance(letter, Planned)] == ([planned] if planned else [])
    assert {letter.medium: letter.reason for letter in plan if isinstance(letter, Skipped)} == reasons


def test_a_plan_does_not_show_addresses() -> None:
    assert "ada@" not in repr(letters_for(notification(), user="u-1", contacts=ADA, carriers=CARRIERS))


def test_the_first_of_the_mediums_that_were_asked_for_is_taken():
    kind = notification(strategy="first")

    plan = letters_for(kind, user="u-1", contacts=ADA, carriers=CARRIERS, only=["email"])

    assert [(type(one), one.medium) for one in plan] == [(Planned, "email")]
