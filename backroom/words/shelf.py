"""Read the templates shelf: one folder per notification type."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backroom.domain.errors import Invalid
from backroom.domain.notification import AFTER_CRASH, CATEGORIES, STRATEGIES, NotificationType
from backroom.words.payload import Payload
from backroom.words.reader import canonical

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
TEMPLATE = re.compile(r"(?P<medium>[a-z][a-z0-9_]*)(\.(?P<locale>[A-Za-z0-9-]{2,35}))?\.jinja\Z")

# Names that a template already has for something else.
TAKEN = ("user", "app", "locale")

# What a `type.toml` may say; checked by the same validator as a payload, so a mistake is told in the same words.
TYPE = Payload(
    {
        "type": "object",
        "properties": {
            "about": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^\n]*$"},
            "category": {"enum": CATEGORIES},
            "channels": {
                "type": "array",
                "minItems": 1,
                "maxItems": 16,
                "uniqueItems": True,
                "items": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"},
            },
            "strategy": {"enum": STRATEGIES},
            "after_crash": {"enum": AFTER_CRASH},
            "public": {"type": "boolean"},
        },
        "required": ["about", "category", "channels", "after_crash", "public"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """One type and its template files.

    Attributes:
        type: The type.
        files: For each medium the template's path below its root, by locale; the default under an empty string, first.
    """

    type: NotificationType
    files: Mapping[str, Mapping[str, str]]


def read_shelf(roots: Sequence[Path]) -> dict[str, Folder]:
    """Read every type of every root, in the order of their names.

    Raises:
        Invalid: A root is not there, two roots hold the same name, or a type is not whole.
    """
    homes: dict[str, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise Invalid("", f"there is no templates folder {root.name}")
        for path in sorted(root.iterdir()):
            if not path.is_dir() or path.name.startswith(("__", ".")):
                continue
            if path.name in homes:
                raise Invalid(path.name, "two templates folders hold this name", "rename one of them")
            homes[path.name] = path
    return {name: _folder(home) for name, home in sorted(homes.items()) if not name.startswith("_")}


def _folder(home: Path) -> Folder:
    if not NAME.match(home.name):
        raise Invalid(home.name, "is no name for a notification type", "lower-case letters, digits and underscores")
    told = _toml(home / "type.toml")
    TYPE.check(told, at=f"{home.name}/type.toml#")
    schema, example = _json(home / "payload.schema.json"), _json(home / "example.json")
    _check_schema(schema, example, name=home.name)
    kind = NotificationType(
        name=home.name,
        about=told["about"],
        category=told["category"],
        mediums=tuple(told["channels"]),
        strategy=told.get("strategy", "all"),
        after_crash=told["after_crash"],
        public=told["public"],
        schema=schema,
        example=example,
    )
    return Folder(type=kind, files=_templates(home, kind.mediums))


def _check_schema(schema: dict[str, Any], example: dict[str, Any], *, name: str) -> None:
    where = f"{name}/payload.schema.json"
    try:
        payload = Payload(schema)
    except Invalid as error:
        raise Invalid(f"{where}#{error.field}", error.wrong) from error
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        # A misspelt field is told at the door instead of being left out of the letter.
        raise Invalid(f"{where}#", "is not closed", 'say "type": "object" and "additionalProperties": false')
    for taken in TAKEN:
        if taken in schema.get("properties", ()):
            raise Invalid(
                f"{where}#/properties/{taken}", "templates have this name for something else", "rename the field"
            )
    payload.check(example, at=f"{name}/example.json#")


def _templates(home: Path, mediums: Sequence[str]) -> dict[str, dict[str, str]]:
    files: dict[str, dict[str, str]] = {medium: {} for medium in mediums}
    # The default sorts before its translations: `email.de.jinja` comes after `email.jinja` here, by length.
    for path in sorted(home.glob("*.jinja"), key=lambda path: (len(path.name), path.name)):
        match = TEMPLATE.match(path.name)
        if not match or match["medium"] not in files:
            raise Invalid(
                f"{home.name}/{path.name}",
                "is no template of one of the type's channels",
                f"channels: {', '.join(mediums)}",
            )
        files[match["medium"]][canonical(match["locale"] or "")] = f"{home.name}/{path.name}"
    for medium, written in files.items():
        if "" not in written:
            raise Invalid(f"{home.name}/{medium}.jinja", "is missing", "every channel has a template without a locale")
    return files


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path.parent.name}/{path.name}", f"is no TOML: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise Invalid(f"{path.parent.name}/{path.name}", f"is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Invalid(f"{path.parent.name}/{path.name}", "is no JSON object")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise Invalid(f"{path.parent.name}/{path.name}", "is missing") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path.parent.name}/{path.name}", "is no UTF-8 text") from error
