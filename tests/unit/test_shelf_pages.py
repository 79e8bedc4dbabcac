"""The generated pages say what the code says."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from dotenv import dotenv_values
from pydantic import BaseModel, Field, SecretStr

from backroom.cli._catalogue import Catalogue, catalogue, door_document, spoken
from backroom.cli._pages import API, DOCUMENT, ENV, SETTINGS, SHELF, pages, stale, write
from backroom.settings import Settings
from backroom.shelf import ChannelFile, Shelves

NOTHING = Catalogue(jobs=[], channels=[], rules=[], types=[])
EMPTY = {"paths": {}, "components": {"schemas": {}, "responses": {}}}


class Loft(BaseModel):
    """A loft."""

    place: str = Field(description="Where the pigeons live | or <sleep>.")
    flock: int = Field(default=12, ge=1, le=9_999, description="How many may be out at once.")
    sender: str = Field(default="Loft <loft@example.com>", description="Who sends them.")
    whistle: SecretStr = Field(default=SecretStr(""), description="What brings them back.")


class Pigeon:
    name = "pigeon"
    medium = "air"


CHANNELS = {"pigeon": ChannelFile(name="pigeon", about="Pigeons.", channel=Pigeon, conf=Loft)}


@pytest.fixture
def written() -> dict[str, str]:
    return pages(NOTHING, channels=CHANNELS, document=EMPTY)


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


def uncommented(text: str) -> dict[str, str | None]:
    lines = [line[1:] if line.startswith("#") and line[1:2].isupper() else "" for line in text.splitlines()]
    return dict(dotenv_values(stream=io.StringIO("\n".join(lines))))


def test_every_setting_stands_in_the_example_with_its_default(written, settings, monkeypatch, tmp_path):
    values = {name: value for name, value in uncommented(written[ENV]).items() if not name.startswith("PIGEON_")}
    (tmp_path / "all.env").write_text("\n".join(f"{name}={value}" for name, value in values.items()))

    assert {name.lower() for name in values} == set(Settings.model_fields)
    assert Settings(_env_file=tmp_path / "all.env") == settings


def test_a_carriers_settings_stand_in_the_example(written):
    values = uncommented(written[ENV])

    assert values["PIGEON_PLACE"] == ""
    assert values["PIGEON_FLOCK"] == "12"
    assert values["PIGEON_SENDER"] == "Loft <loft@example.com>"
    assert "# Where the pigeons live | or <sleep>. Required.\n#PIGEON_PLACE=\n" in written[ENV]


def test_a_setting_says_what_it_takes(written):
    page = written[SETTINGS]

    assert "| `PIGEON_FLOCK` | from 1 to 9,999 | `12` | How many may be out at once. |" in page
    assert "| `PIGEON_WHISTLE` | a secret |  | What brings them back. |" in page
    assert r"| `PIGEON_PLACE` | text | **required** | Where the pigeons live \| or \<sleep>. |" in page
    assert "| `LOG_FORMAT` | `json`, `console` | `console` |" in page


@pytest.fixture(scope="module")
def document() -> dict:
    return door_document(Settings(_env_file=None))


def test_a_route_says_who_may_use_it(document):
    page = pages(NOTHING, channels={}, document=document)[API]

    assert "| POST | [`/v1/notifications`](#post_notifications) | secret key | Accept a notification" in page
    assert "(#get_users_user_inbox) | secret key or user token |" in page
    assert "| GET | [`/healthz`](#get_healthz) | anyone |" in page


def test_the_page_shows_what_a_route_takes_and_answers_field_by_field(document):
    page = pages(NOTHING, channels={}, document=document)[API]
    chapter = page.partition("## POST /v1/notifications\n")[2].partition("\n## ")[0]
    body = page.partition("### NotificationBody\n")[2].partition("\n### ")[0]

    assert "Takes [NotificationBody](#NotificationBody) as `application/json`." in chapter
    assert "| `Idempotency-Key` | header | text, length from 1, length to 255 |" in chapter
    assert "| 202 | [AcceptedNotification](#AcceptedNotification) | It is on the queue. Header `Location`:" in chapter
    assert "| 422 | [ProblemDetails](#ProblemDetails) |" in chapter
    assert "| `to` | list of text, items from 1, items to 1000, **required** | The readers' ids in" in body


def test_every_route_and_everything_on_the_shelves_has_a_meaning(settings, document):
    found = catalogue(settings, Shelves())

    rows: list[object] = [*found.jobs, *found.channels, *found.rules, *found.types]
    assert [row for row in rows if not getattr(row, "about", "")] == []
    routes = [(path, one) for path, methods in document["paths"].items() for one in methods.values()]
    assert [path for path, route in routes if not route["summary"]] == []
    fields = [
        (name, field)
        for name, schema in document["components"]["schemas"].items()
        for field, told in schema.get("properties", {}).items()
        if "description" not in told
    ]
    assert fields == []


def test_a_carrier_says_whether_it_is_on_and_why(settings, monkeypatch):
    off = {row.name: row for row in catalogue(settings, Shelves()).channels}
    assert off["email_sendgrid"].state == "off"
    assert off["email_sendgrid"].why == "needs EMAIL_SENDGRID_API_KEY, EMAIL_SENDGRID_SENDER"
    assert off["inbox"].state == "on"

    simulating = settings.model_copy(update={"simulator_url": "http://127.0.0.1:1", "simulator_smtp_port": 1})
    simulated = {row.name: row for row in catalogue(simulating, Shelves()).channels}
    assert simulated["sms_twilio"].state == "simulated"
    assert simulated["email_smtp"].why == "email_sendgrid carries email first; CARRIERS decides"


def test_only_what_is_stale_is_named_and_written(written, tmp_path):
    assert stale(tmp_path, written) == [SHELF, SETTINGS, API, DOCUMENT, ENV]
    assert write(tmp_path, written) == [SHELF, SETTINGS, API, DOCUMENT, ENV]
    assert stale(tmp_path, written) == []

    route = {"operationId": "get_x", "summary": "X.", "security": [], "parameters": [], "responses": {}}
    more = pages(NOTHING, channels=CHANNELS, document={**EMPTY, "paths": {"/x": {"get": route}}})

    assert write(tmp_path, more) == [API, DOCUMENT]


@pytest.mark.parametrize(
    ("every", "said"),
    [
        (None, ""),
        ("10 3 * * *", "10 3 * * *"),
        (timedelta(0), ""),
        (timedelta(milliseconds=250), "250 ms"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=15), "15 min"),
        (timedelta(days=2), "2 d"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_that_fits(every, said):
    assert spoken(every) == said
