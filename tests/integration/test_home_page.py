"""The door's own page says where letters go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backroom import settings
from tests.house import TestHouse

KEYS = {"SMS_TWILIO_ACCOUNT_SID": f"AC{1:032x}", "SMS_TWILIO_AUTH_TOKEN": "t", "SMS_TWILIO_SENDER": "+15005550006"}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    # What was read of the environment before is not asked again.
    settings._environment.cache_clear()
    yield
    settings._environment.cache_clear()


def test_without_keys_every_letter_goes_to_the_simulator(house: TestHouse) -> None:
    page = house.client(house.open_door(simulator_url="http://127.0.0.1:1"), key="").get("/")

    assert "every letter goes to the simulator" in page.text


@pytest.mark.usefixtures("keys")
def test_a_carrier_with_keys_is_named_as_one_that_writes_to_real_people(house: TestHouse) -> None:
    page = house.client(house.open_door(simulator_url="http://127.0.0.1:1"), key="").get("/")

    assert "write to real people: sms_twilio." in page.text
    assert "every letter goes" not in page.text
