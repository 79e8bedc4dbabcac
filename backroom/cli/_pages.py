"""The generated pages: what the shelves, the settings and the routes say about themselves, as files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from backroom.cli._api_page import api_page
from backroom.cli._catalogue import Catalogue
from backroom.cli._markdown import code, page, table
from backroom.settings import Settings
from backroom.shelf import ChannelFile

WIDTH = 100
SHELF = "docs/reference/shelf.md"
SETTINGS = "docs/reference/settings.md"
API = "docs/reference/api.md"
DOCUMENT = "docs/reference/openapi.json"
ENV = ".env.example"
DECISIONS = "docs/decisions"

NOTE = "<!-- Written by `make docs` from the code. Change the code, not this page. -->"


def pages(found: Catalogue, *, channels: Mapping[str, ChannelFile], document: Mapping[str, Any]) -> dict[str, str]:
    """Every generated file's text, by its path below the project."""
    return {
        SHELF: _shelf(found),
        SETTINGS: _settings(channels),
        API: api_page(document, note=NOTE),
        DOCUMENT: json.dumps(document, indent=1, ensure_ascii=False) + "\n",
        ENV: _env(channels),
    }


def decisions(root: Path) -> dict[str, str]:
    """The list of decisions, where a project has a folder of them."""
    folder = root / DECISIONS
    if not folder.is_dir():
        return {}
    rows = []
    for path in sorted(folder.glob("[0-9]*.md")):
        number, _, title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
        rows.append((number, f"[{title}]({path.name})"))
    text = page(
        "# Decisions",
        NOTE,
        "What was decided, why, what was looked at instead, and what it costs. One that is overturned stays, with a "
        "line that names its successor: the reasons against it are worth as much.",
        table(("number", "decision"), rows),
    )
    return {f"{DECISIONS}/README.md": text}


def stale(root: Path, wanted: Mapping[str, str]) -> list[str]:
    """The files that are missing or say something else."""
    return [name for name, text in wanted.items() if not (root / name).is_file() or (root / name).read_text() != text]


def write(root: Path, wanted: Mapping[str, str]) -> list[str]:
    """Write those that are stale; their names."""
    names = stale(root, wanted)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[name], encoding="utf-8")
    return names


# The shelves ----------------------------------------------------------------------------------------------------------


def _shelf(found: Catalogue) -> str:
    return page(
        "# What stands on the shelves",
        NOTE,
        "`backroom shelf` shows the same for your own shelves (`BACKROOM_SHELVES`), and which carriers are on.",
        "## Jobs",
        "What can be asked. A file in `jobs/` is a message and a function; `every`: when the clock asks for it (UTC).",
        table(
            ("job", "queue", "every", "batch", "what it does"),
            ((code(row.name), code(row.queue), code(row.every), str(row.batch or ""), row.about) for row in found.jobs),
        ),
        "## Channels",
        "How word gets out. A file in `channels/` is a carrier; what each needs stands in [settings](settings.md).",
        table(
            ("channel", "medium", "what it is"),
            ((code(row.name), row.medium, row.about) for row in found.channels),
        ),
        "## Rules",
        "What worries us. A file in `alerts/` looks at facts, and an alert fires when a finding stands for `hold`.",
        table(
            ("rule", "looks at", "every", "severity", "hold", "thresholds", "what it warns of"),
            (
                (
                    code(row.name),
                    row.scope,
                    code(row.every),
                    row.severity,
                    row.hold,
                    ", ".join(f"`{name}` = {value:g}" for name, value in row.settings.items()),
                    row.about,
                )
                for row in found.rules
            ),
        ),
        "## Notification types",
        "The words. A folder in `templates/` holds a payload's schema and a template for each channel and locale.",
        table(
            ("type", "category", "channels, in order", "locales", "posted by", "what it says"),
            (
                (
                    code(row.name),
                    row.category,
                    ", ".join(row.channels),
                    ", ".join(row.locales),
                    "applications" if row.public else "our own jobs",
                    row.about,
                )
                for row in found.types
            ),
        ),
    )


# The settings ---------------------------------------------------------------------------------------------------------


def _settings(channels: Mapping[str, ChannelFile]) -> str:
    return page(
        "# Settings",
        NOTE,
        "Every setting is an environment variable. `.env` in the working directory is read first; the real environment "
        "wins. `.env.example` lists them all, ready to copy.",
        "## The house",
        table(("variable", "takes", "default", "meaning"), _setting_rows("", Settings)),
        *(
            block
            for name, file in sorted(channels.items())
            if file.conf.model_fields
            for block in (
                f"## {name}",
                f"{file.about} {_sentence(file.conf)} It is on when every required variable is set.",
                table(("variable", "takes", "default", "meaning"), _setting_rows(name, file.conf)),
            )
        ),
    )


def _setting_rows(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        default = "**required**" if field.is_required() else code(_text(field.default))
        yield code(_variable(prefix, name)), _takes(field), default, field.description or ""


def _takes(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(code(str(choice)) for choice in get_args(field.annotation))
    if field.annotation is SecretStr:
        return "a secret"
    if field.annotation is bool:
        return "true or false"
    if field.annotation in (int, float):
        return _range(field) or "a number"
    return "a path" if field.annotation is Path else "text"


def _range(field: FieldInfo) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    said = [
        f"{word} {getattr(limit, name):,}"
        for limit in field.metadata
        for name, word in words.items()
        if hasattr(limit, name)
    ]
    return " ".join(said)


def _env(channels: Mapping[str, ChannelFile]) -> str:
    lines = [
        "# Written by `make docs` from the code. Copy it to .env and take away the # before what you set.",
        "# A value that is left out has the default shown here. The real environment wins over .env.",
        "",
        "# The house ----------------------------------------------------------------------------------------",
        *_env_lines("", Settings),
    ]
    for name, file in sorted(channels.items()):
        if file.conf.model_fields:
            lines += ["", f"# {name}: {file.about} ".ljust(WIDTH, "-"), *_env_lines(name, file.conf)]
    return "\n".join([*lines, ""])


def _env_lines(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        said = f"{field.description or name} {'Required.' if field.is_required() else ''}".strip()
        yield ""
        yield from textwrap.wrap(said, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        yield f"#{_variable(prefix, name)}={'' if field.is_required() else _quoted(_text(field.default))}"


def _variable(prefix: str, name: str) -> str:
    return f"{prefix}_{name}".lstrip("_").upper()


def _text(default: Any) -> str:
    if isinstance(default, SecretStr):
        # A default that is a secret would be none.
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return str(default.value if isinstance(default, Enum) else default)


def _quoted(value: str) -> str:
    return json.dumps(value) if set(value) & set(" #\"'\\$") else value


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
