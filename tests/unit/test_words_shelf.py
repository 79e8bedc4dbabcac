"""Reading the templates shelf: a type that is not whole is told by file and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backroom.domain.errors import Invalid
from backroom.words import Words

TYPE = """
about = "Says hello."
category = "transactional"
channels = ["sms"]
after_crash = "report"
public = true
"""
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


def whole(root: Path, name: str = "greeting", **files: str) -> Path:
    home = root / name
    home.mkdir(parents=True)
    texts = {
        "type.toml": TYPE,
        "payload.schema.json": json.dumps(SCHEMA),
        "example.json": '{"name": "Ada"}',
        "sms.jinja": "{% block text %}Hello {{ name }}{% endblock %}",
        **{file.replace("__", "."): text for file, text in files.items()},
    }
    for file, text in texts.items():
        if text:
            (home / file).write_text(text)
    return root


def wrong_with(root: Path) -> Invalid:
    with pytest.raises(Invalid) as caught:
        Words([root])
    return caught.value


def test_a_folder_is_a_type_with_the_defaults_of_the_house(tmp_path: Path) -> None:
    kind = Words([whole(tmp_path)]).types["greeting"]
    assert (kind.name, kind.about, kind.mediums) == ("greeting", "Says hello.", ("sms",))
    assert (kind.category, kind.strategy, kind.after_crash, kind.public) == ("transactional", "all", "report", True)
    assert kind.example == {"name": "Ada"}


def test_a_folder_with_an_underscore_is_no_type(tmp_path: Path) -> None:
    whole(tmp_path)
    (tmp_path / "_layout").mkdir()
    (tmp_path / "__pycache__").mkdir()
    assert set(Words([tmp_path]).types) == {"greeting"}


def test_an_application_adds_a_root_of_its_own(tmp_path: Path) -> None:
    words = Words([whole(tmp_path / "ours"), whole(tmp_path / "theirs", "farewell")])
    assert list(words.types) == ["farewell", "greeting"]
    rendered = words.render("farewell", "sms", locale="en", time_zone="UTC", data={"name": "Ada"}, user={}, app={})
    assert rendered.parts == {"text": "Hello Ada"}


def test_two_roots_with_one_name_are_an_error_rather_than_a_silent_override(tmp_path: Path) -> None:
    whole(tmp_path / "ours")
    whole(tmp_path / "theirs")
    with pytest.raises(Invalid, match="greeting: two templates folders hold this name"):
        Words([tmp_path / "ours", tmp_path / "theirs"])


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("transactional", "transactionl", "/category"),
        ('["sms"]', "[]", "/channels"),
        ('["sms"]', '["sms", "sms"]', "/channels"),
        ('["sms"]', '["SMS!"]', "/channels/0"),
        ('"report"', '"retry"', "/after_crash"),
        ("true", '"yes"', "/public"),
        ("public", "publik", "/publik"),
        ('about = "Says hello."', "", "/about"),
    ],
)
def test_a_wrong_key_is_told_with_its_file(tmp_path: Path, old: str, new: str, field: str) -> None:
    error = wrong_with(whole(tmp_path, type__toml=TYPE.replace(old, new)))
    assert error.field == f"greeting/type.toml#{field}"
    assert error.wrong


def test_a_misspelt_key_gets_a_suggestion(tmp_path: Path) -> None:
    error = wrong_with(whole(tmp_path, type__toml=TYPE + 'strategi = "first"\n'))
    assert error.right == "did you mean strategy?"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    error = wrong_with(whole(tmp_path, type__toml='about = "'))
    assert error.field == "greeting/type.toml"
    assert "TOML" in error.wrong


@pytest.mark.parametrize("file", ["type.toml", "payload.schema.json", "example.json", "sms.jinja"])
def test_a_missing_file_is_told(tmp_path: Path, file: str) -> None:
    error = wrong_with(whole(tmp_path, **{file.replace(".", "__"): ""}))
    assert (error.field, error.wrong) == (f"greeting/{file}", "is missing")


def test_a_template_of_no_channel_of_the_type_is_told(tmp_path: Path) -> None:
    error = wrong_with(whole(tmp_path, emial__jinja="{% block text %}{% endblock %}"))
    assert error.field == "greeting/emial.jinja"
    assert "sms" in error.right


def test_a_schema_has_to_be_closed(tmp_path: Path) -> None:
    error = wrong_with(whole(tmp_path, payload__schema__json='{"type": "object"}'))
    assert error.field == "greeting/payload.schema.json#"


def test_a_schema_that_is_none_is_told_with_its_place(tmp_path: Path) -> None:
    schema = {**SCHEMA, "properties": {"name": {"type": "strin"}}}
    error = wrong_with(whole(tmp_path, payload__schema__json=json.dumps(schema)))
    assert error.field.startswith("greeting/payload.schema.json#/properties/name")


def test_a_schema_cannot_reach_out_of_the_house(tmp_path: Path) -> None:
    schema = {**SCHEMA, "properties": {"name": {"$ref": "https://example.com/name.json"}}}
    assert wrong_with(whole(tmp_path, payload__schema__json=json.dumps(schema))).field.startswith("greeting/payload")


def test_a_field_cannot_take_a_name_that_templates_have_for_something_else(tmp_path: Path) -> None:
    schema = {**SCHEMA, "properties": {"name": {"type": "string"}, "user": {"type": "string"}}}
    error = wrong_with(whole(tmp_path, payload__schema__json=json.dumps(schema)))
    assert error.field == "greeting/payload.schema.json#/properties/user"


def test_an_example_has_to_fit_its_schema(tmp_path: Path) -> None:
    assert wrong_with(whole(tmp_path, example__json='{"name": 3}')).field == "greeting/example.json#/name"


def test_an_unknown_type_lists_names_near_it(tmp_path: Path) -> None:
    words = Words([whole(tmp_path)])
    with pytest.raises(Invalid) as caught:
        words.check("greting", {})
    assert (caught.value.field, caught.value.right) == ("/type", "did you mean greeting?")


def test_an_unknown_medium_lists_those_there_are(tmp_path: Path) -> None:
    words = Words([whole(tmp_path)])
    with pytest.raises(Invalid) as caught:
        words.render("greeting", "email", locale="en", time_zone="UTC", data={}, user={}, app={})
    assert (caught.value.field, caught.value.right) == ("/channel", "there is sms")


def test_a_wrong_payload_is_told_by_pointer_and_without_its_value(tmp_path: Path) -> None:
    words = Words([whole(tmp_path)])
    with pytest.raises(Invalid) as caught:
        words.check("greeting", {"name": ["secret"]})
    assert caught.value.field == "/data/name"
    assert caught.value.wrong == 'is not of type "string"'
    assert "secret" not in str(caught.value)


def test_an_unknown_field_is_told_with_one_near_it_and_escaped(tmp_path: Path) -> None:
    words = Words([whole(tmp_path)])
    with pytest.raises(Invalid) as caught:
        words.check("greeting", {"name": "Ada", "na/me": 1})
    assert caught.value.field == "/data/na~1me"
    assert caught.value.right == "did you mean name?"
