"""Every notification type on the shelf, found by listing: it can be written in every medium and locale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import smsutil

from backroom.domain.errors import Invalid
from backroom.shelf import Shelves
from backroom.words import Rendered, Words

WORDS = Words(Shelves().templates)
SMS_PARTS = 3
MARK = "<b>\r\nBcc: x@example.com\u2028&\"'"

LETTERS = [
    pytest.param(kind.name, medium, locale or "en", id=f"{kind.name}.{medium}.{locale or 'en'}")
    for kind in WORDS.types.values()
    for medium in kind.mediums
    for locale in WORDS.locales(kind.name, medium)
]

every_type = pytest.mark.parametrize("name", WORDS.types)
every_letter = pytest.mark.parametrize(("name", "medium", "locale"), LETTERS)
every_email = pytest.mark.parametrize(
    ("name", "medium", "locale"), [each for each in LETTERS if "email" in each.values]
)
every_sms = pytest.mark.parametrize(("name", "medium", "locale"), [each for each in LETTERS if "sms" in each.values])


@every_type
def test_a_type_is_written_in_the_same_languages_over_every_medium(name: str) -> None:
    assert len({frozenset(WORDS.locales(name, medium)) for medium in WORDS.types[name].mediums}) == 1


@pytest.mark.parametrize("name", ["order_shipped", "sign_in_code", "admin_notice", "daily_digest"])
def test_what_comes_with_the_house_is_written_in_english_and_german(name: str) -> None:
    for medium in WORDS.types[name].mediums:
        assert {"", "de"} <= set(WORDS.locales(name, medium))


@every_letter
def test_an_example_can_be_written(name: str, medium: str, locale: str) -> None:
    rendered = _render(name, medium, locale, WORDS.types[name].example)
    assert rendered.locale == locale
    assert all(part.strip() == part for part in rendered.parts.values())
    assert not any(mark in part for part in rendered.parts.values() for mark in ("{{", "{%", "None", "Undefined"))


@every_letter
def test_a_letter_without_anything_optional_can_be_written(name: str, medium: str, locale: str) -> None:
    bare = _bare(WORDS.types[name].example, WORDS.types[name].schema)
    WORDS.check(name, bare)
    assert WORDS.render(name, medium, locale=locale, time_zone="", data=bare, user={}, app={}).parts


@every_letter
def test_headings_stay_on_one_line_whatever_the_payload_holds(name: str, medium: str, locale: str) -> None:
    rendered = _render(name, medium, locale, _marked(WORDS.types[name].example))
    for part in ("subject", "title"):
        assert len(rendered.parts.get(part, "").splitlines()) <= 1


@every_email
def test_html_escapes_every_text_of_the_payload(name: str, medium: str, locale: str) -> None:
    kind = WORDS.types[name]
    if not list(_texts(kind.example)):
        pytest.skip("nothing free to mark")
    rendered = _render(name, medium, locale, _marked(kind.example))
    assert "<b>" not in rendered.parts["html"]


@every_email
def test_html_loads_nothing_and_runs_nothing(name: str, medium: str, locale: str) -> None:
    html = _render(name, medium, locale, WORDS.types[name].example).parts["html"]
    assert not re.search(r"<(script|link|iframe|form|img)\b|\bon\w+=|@import|url\(", html)
    assert f'<html lang="{locale}">' in html
    assert len(html.encode()) < 102_000, "mail clients clip at 102 kB"


@every_sms
def test_an_sms_keeps_to_its_parts(name: str, medium: str, locale: str) -> None:
    text = _render(name, medium, locale, WORDS.types[name].example).parts["text"]
    split = smsutil.split(text)
    assert split.encoding == "gsm0338", "a character outside the small alphabet halves what fits"
    assert len(split.parts) <= SMS_PARTS


@every_type
def test_a_missing_field_is_named_with_its_template_and_line(name: str) -> None:
    kind = WORDS.types[name]
    for field in kind.schema["required"]:
        with pytest.raises(Invalid) as caught:
            WORDS.check(name, {key: value for key, value in kind.example.items() if key != field})
        assert caught.value.field == f"/data/{field}"


@every_type
def test_every_link_of_a_payload_is_a_web_address(name: str) -> None:
    for schema in _schemas(WORDS.types[name].schema):
        if schema.get("format") == "uri":
            assert str(schema.get("pattern", "")).startswith("^https?://"), "javascript: is a URI, too"


@every_type
def test_every_size_of_a_payload_has_a_limit(name: str) -> None:
    limits = {
        "string": ("maxLength", "pattern"),
        "array": ("maxItems",),
        "integer": ("maximum",),
        "number": ("maximum",),
    }
    for schema in _schemas(WORDS.types[name].schema):
        wanted = limits.get(schema.get("type", ""), ())
        assert not wanted or any(limit in schema for limit in wanted), schema
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False


def test_a_sign_in_code_never_comes_with_a_link() -> None:
    for medium in WORDS.types["sign_in_code"].mediums:
        for locale in WORDS.locales("sign_in_code", medium):
            rendered = _render("sign_in_code", medium, locale or "en", WORDS.types["sign_in_code"].example)
            assert not any(re.search(r"https?://|href=", part) for part in rendered.parts.values())


def test_a_long_order_shows_its_first_lines_and_counts_the_rest() -> None:
    kind = WORDS.types["order_shipped"]
    lines = [{"sku": f"S{n}", "name": f"Thing {n}", "quantity": 2, "price": 0.5} for n in range(1_114)]
    rendered = _render("order_shipped", "email", "de", {**kind.example, "lines": lines})
    assert "1.074 weitere Artikel" in rendered.parts["text"]
    assert "Thing 39 " in rendered.parts["text"]
    assert "Thing 40 " not in rendered.parts["text"]
    assert "1.114,00\xa0£" in rendered.parts["text"]
    assert len(rendered.parts["html"].encode()) < 102_000


@pytest.mark.parametrize("state", ["firing", "resolved", "notice"])
@pytest.mark.parametrize("severity", ["info", "warning", "critical"])
def test_an_admin_notice_can_be_written_in_every_state(state: str, severity: str) -> None:
    data = {**WORDS.types["admin_notice"].example, "state": state, "severity": severity}
    for medium in WORDS.types["admin_notice"].mediums:
        for locale in ("en", "de"):
            assert _render("admin_notice", medium, locale, data).parts


def test_the_longest_admin_notice_still_fits_the_sms_cap() -> None:
    data = {**WORDS.types["admin_notice"].example, "title": "W" * 120, "says": "word " * 100, "about": "h" * 200}
    WORDS.check("admin_notice", data)
    text = _render("admin_notice", "sms", "de", data).parts["text"]
    assert len(smsutil.split(text).parts) <= SMS_PARTS


def _render(name: str, medium: str, locale: str, data: dict[str, Any]) -> Rendered:
    return WORDS.render(
        name,
        medium,
        locale=locale,
        time_zone="Europe/Vienna",
        data=data,
        user={"id": "u1", "name": "Ada", "locale": locale},
        app={"name": "Lantern"},
    )


def _bare(value: Any, schema: Any) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        return {key: _bare(value[key], schema["properties"][key]) for key in schema.get("required", ())}
    if isinstance(value, list):
        return [_bare(each, schema.get("items", {})) for each in value]
    return value


def _marked(value: Any) -> Any:
    # Free text only: a date, a code or an address with a mark in it would not have passed the schema.
    if isinstance(value, dict):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return value + MARK if isinstance(value, str) and _is_free(value) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, str) and _is_free(value):
        yield value


def _is_free(text: str) -> bool:
    return not re.match(r"https?://|\d{4}-\d\d-\d\dT|[A-Z]{3}$|[a-z_]+$", text)


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for each in [*schema.get("properties", {}).values(), schema.get("items"), *schema.get("oneOf", ())]:
            yield from _schemas(each)
