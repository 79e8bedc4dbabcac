"""Writing a letter: the reader's language and zone, and what may go wrong in a template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backroom.domain.errors import TemplateFailed
from backroom.words import Rendered, Words

FIELDS = ("name", "amount", "at", "items", "link", "n")


def words(root: Path, medium: str = "note", **templates: str) -> Words:
    home = root / "greeting"
    home.mkdir(parents=True)
    (home / "type.toml").write_text(
        f'about = "Says hello."\ncategory = "alert"\nchannels = ["{medium}"]\nafter_crash = "resend"\npublic = true\n'
    )
    schema = {"type": "object", "properties": dict.fromkeys(FIELDS, True), "additionalProperties": False}
    (home / "payload.schema.json").write_text(json.dumps(schema))
    (home / "example.json").write_text("{}")
    for name, template in templates.items():
        (home / f"{name.replace('__', '.').replace('_', '-')}.jinja").write_text(template)
    return Words([root])


def write(
    found: Words, data: dict[str, Any], *, medium: str = "note", locale: str = "en", zone: str = "UTC"
) -> Rendered:
    return found.render(
        "greeting",
        medium,
        locale=locale,
        time_zone=zone,
        data=data,
        user={"id": "u", "name": "Ada"},
        app={"name": "Shop"},
    )


def text_of(root: Path, template: str, data: dict[str, Any], **how: str) -> str:
    block = "{% block text %}" + template + "{% endblock %}"
    return write(words(root, note=block), data, **how).parts["text"]


def failure_of(root: Path, template: str, data: dict[str, Any]) -> TemplateFailed:
    with pytest.raises(TemplateFailed) as caught:
        text_of(root, template, data)
    return caught.value


@pytest.mark.parametrize(
    ("locale", "text", "told"),
    [
        ("de-AT", "Hallo", "de-AT"),
        ("de_at", "Hallo", "de-AT"),
        ("de-CH", "Grüezi", "de-CH"),
        ("de-AT-u-co-phonebk", "Hallo", "de-AT"),
        ("de", "Hallo", "de"),
        ("en-GB", "Hello", "en-GB"),
        ("fr-FR", "Hello", "en"),
        ("", "Hello", "en"),
        ("../../etc", "Hello", "en"),
        ("zh-hant-TW", "您好", "zh-Hant-TW"),
    ],
)
def test_the_nearest_locale_is_used(tmp_path: Path, locale: str, text: str, told: str) -> None:
    found = words(
        tmp_path,
        note="{% block text %}Hello{% endblock %}",
        note__de="{% block text %}Hallo{% endblock %}",
        note__de_CH="{% block text %}Grüezi{% endblock %}",
        note__zh_Hant="{% block text %}您好{% endblock %}",
    )
    rendered = write(found, {}, locale=locale)
    assert (rendered.parts["text"], rendered.locale) == (text, told)


def test_the_template_that_was_used_is_named(tmp_path: Path) -> None:
    found = words(tmp_path, note="{% block text %}a{% endblock %}", note__de="{% block text %}b{% endblock %}")
    assert write(found, {}, locale="de-AT").template == "greeting/note.de.jinja"


@pytest.mark.parametrize(
    ("template", "locale", "zone", "text"),
    [
        ("{{ at | date }}", "en", "UTC", "November 23, 2026"),
        ("{{ at | date }}", "en-GB", "Asia/Tokyo", "24 November 2026"),
        ("{{ at | time }}", "en-GB", "Europe/Vienna", "17:40"),
        ("{{ at | datetime('short') }}", "en-GB", "No/Such_Zone", "23/11/2026, 16:40"),
        ("{{ '2026-11-23' | date }}", "en-GB", "Asia/Tokyo", "23 November 2026"),
        ("{{ 1234.5 | money('EUR') }}", "en", "UTC", "€1,234.50"),
        ("{{ 1234.5 | number }}", "en", "UTC", "1,234.5"),
        ("{{ 0.1 | number }}", "en", "UTC", "0.1"),
        ("{{ 1 | plural(one='# day', other='# days') }}", "en", "UTC", "1 day"),
        ("{{ 1200 | plural(one='# day', other='# days') }}", "en", "UTC", "1,200 days"),
        ("{{ user.name }} at {{ app.name }}", "en", "UTC", "Ada at Shop"),
        ("{{ items | length }} {{ items[0].items }}", "en", "UTC", "1 mine"),
    ],
)
def test_words_are_told_in_the_readers_way(tmp_path: Path, template: str, locale: str, zone: str, text: str) -> None:
    data = {"at": "2026-11-23T16:40:00Z", "items": [{"items": "mine"}]}
    assert text_of(tmp_path, template, data, locale=locale, zone=zone) == text


def test_a_missing_variable_names_template_line_and_variable(tmp_path: Path) -> None:
    failure = failure_of(tmp_path, "Hello\n\n{{ nmae }}", {"name": "Ada"})
    assert (failure.template, failure.line, failure.variable) == ("greeting/note.jinja", 3, "nmae")


@pytest.mark.parametrize(
    "template", ["{{ items[0].price }}", "{{ items[0].price | money('EUR') }}", "{{ items[0].price | date }}"]
)
def test_a_missing_field_of_an_item_is_named(tmp_path: Path, template: str) -> None:
    failure = failure_of(tmp_path, template, {"items": [{"name": "x"}]})
    assert failure.variable == "price"


def test_a_failure_in_a_shared_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "_layout").mkdir()
    (tmp_path / "_layout" / "page.jinja").write_text("{% macro page() %}\n{{ nobody }}\n{% endmacro %}")
    template = '{% import "_layout/page.jinja" as layout %}{{ layout.page() }}'
    failure = failure_of(tmp_path, template, {})
    assert (failure.template, failure.line, failure.variable) == ("_layout/page.jinja", 2, "nobody")


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    failure = failure_of(tmp_path, "one\n{% if %}", {})
    assert (failure.template, failure.line) == ("greeting/note.jinja", 2)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{% for n in range(10000000) %}{% endfor %}",
        "{{ items.append(1) }}",
        "{% include '../../secret' %}",
        "{{ name | money('EUR') }}",
        "{{ name | date }}",
        "{{ name + 1 }}",
        "{{ 1 // 0 }}",
        "{{ n | plural(one='#') }}",
    ],
)
def test_what_a_template_must_not_or_cannot_do_fails_without_quoting_the_payload(tmp_path: Path, template: str) -> None:
    failure = failure_of(tmp_path, template, {"name": "ada@example.com", "items": [], "n": 2})
    assert failure.line == 1
    assert "ada@" not in str(failure)
    assert failure.__suppress_context__


def test_a_part_cannot_grow_without_end(tmp_path: Path) -> None:
    template = "{% for n in range(1000) %}{% for m in range(1000) %}{{ name }}{% endfor %}{% endfor %}"
    assert "longer than" in failure_of(tmp_path, template, {"name": "x" * 10}).why


def test_only_html_is_escaped(tmp_path: Path) -> None:
    blocks = "".join(f"{{% block {part} %}}{{{{ name }}}}{{% endblock %}}" for part in ("subject", "text", "html"))
    parts = write(words(tmp_path, "email", email=blocks), {"name": "<i>&"}, medium="email").parts
    assert parts == {"subject": "<i>&", "text": "<i>&", "html": "&lt;i&gt;&amp;"}


@pytest.mark.parametrize("missing", ["subject", "text", "html"])
def test_an_email_without_one_of_its_blocks_fails(tmp_path: Path, missing: str) -> None:
    parts = {"subject", "text", "html"} - {missing}
    blocks = "".join(f"{{% block {part} %}}x{{% endblock %}}" for part in sorted(parts))
    with pytest.raises(TemplateFailed, match=f"there is no block `{missing}`"):
        write(words(tmp_path, "email", email=blocks), {}, medium="email")


def test_a_heading_cannot_smuggle_in_a_header(tmp_path: Path) -> None:
    blocks = (
        "{% block subject %} {{ name }} {% endblock %}{% block text %}x{% endblock %}{% block html %}x{% endblock %}"
    )
    hostile = "Hi\r\nBcc: x@example.com\x0b\x85\u2028\u2029\x00end"
    parts = write(words(tmp_path, "email", email=blocks), {"name": hostile}, medium="email").parts
    assert parts["subject"] == "Hi Bcc: x@example.com end"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "//evil.example", "https://a b", 'https://x"onclick'])
def test_a_link_is_a_web_address_or_a_path(tmp_path: Path, link: str) -> None:
    blocks = "{% block title %}a{% endblock %}{% block body %}b{% endblock %}{% block link %}{{ link }}{% endblock %}"
    found = words(tmp_path, "inbox", inbox=blocks)
    assert write(found, {"link": "/orders/1"}, medium="inbox").parts["link"] == "/orders/1"
    assert "link" not in write(found, {"link": ""}, medium="inbox").parts
    with pytest.raises(TemplateFailed, match="a link starts with"):
        write(found, {"link": link}, medium="inbox")


def test_an_sms_has_the_plain_marks_of_its_small_alphabet(tmp_path: Path) -> None:
    found = words(tmp_path, "sms", sms="{% block text %}{{ name }}  {{ 5 | money('EUR') }}{% endblock %}")
    rendered = write(found, {"name": "\u201eJa\u201c \u2013 it\u2019s\u2026"}, medium="sms", locale="en")
    assert rendered.parts["text"] == '"Ja" - it\'s... €5.00'
