"""What stands on the shelves, as plain rows: for tables, for programs and for the generated pages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Literal

from pydantic import SecretStr

from api_shim.app import open_door, routes
from api_shim.openapi import document
from backroom.domain.errors import Invalid
from backroom.domain.notification import NotificationType
from backroom.settings import Settings, conf
from backroom.shelf import ChannelFile, Shelves, carriers
from backroom.words import Words

State = Literal["on", "simulated", "off", "wrong"]

# Enough to build the front door without any engine: nothing is connected before the first request.
NOWHERE = {
    "redis_url": "redis://127.0.0.1/0",
    "database_url": "postgresql://127.0.0.1/nowhere",
    "backroom_secret": SecretStr("only to read the routes: nothing is signed with it"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRow:
    """A kind of work."""

    name: str
    queue: str
    every: str
    batch: int
    attempts: int
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelRow:
    """A carrier. `state` and `why` are about this environment; the rest stands in its file."""

    name: str
    medium: str
    state: State
    why: str
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleRow:
    """An alert rule."""

    name: str
    every: str
    scope: str
    severity: str
    hold: str
    settings: Mapping[str, float]
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeRow:
    """A notification type."""

    name: str
    category: str
    channels: Sequence[str]
    locales: Sequence[str]
    public: bool
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """Everything on the shelves."""

    jobs: Sequence[JobRow]
    channels: Sequence[ChannelRow]
    rules: Sequence[RuleRow]
    types: Sequence[TypeRow]


def catalogue(settings: Settings, shelves: Shelves) -> Catalogue:
    """Read the shelves.

    Raises:
        Invalid: Something on a shelf is not whole, or `CARRIERS` names what is not there.
    """
    words = Words(shelves.templates)
    return Catalogue(
        jobs=[
            JobRow(
                name=job.name,
                queue=job.queue,
                every=spoken(job.every),
                batch=job.batch,
                attempts=job.attempts,
                about=job.about,
            )
            for _, job in sorted(shelves.jobs.items())
        ],
        channels=_channels(settings, shelves),
        rules=[
            RuleRow(
                name=rule.name,
                every=spoken(rule.every),
                scope=rule.scope,
                severity=rule.severity,
                hold=spoken(rule.hold),
                settings=dict(rule.settings),
                about=rule.about,
            )
            for _, rule in sorted(shelves.rules.items())
        ],
        types=[
            TypeRow(
                name=kind.name,
                category=kind.category,
                channels=kind.mediums,
                locales=_locales(words, kind),
                public=kind.public,
                about=kind.about,
            )
            for kind in words.types.values()
        ],
    )


def door_document(settings: Settings) -> dict[str, Any]:
    """The front door's document (OpenAPI 3.1)."""
    door = open_door(settings.model_copy(update=NOWHERE))
    try:
        return document(routes(door), version=version("backroom"))
    finally:
        asyncio.run(door.closing.aclose())


def spoken(every: str | timedelta | None) -> str:
    """A crontab line as it is; a span in the largest unit that divides it."""
    if not every:
        return ""
    if isinstance(every, str):
        return every
    milliseconds = round(every / timedelta(milliseconds=1))
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def _channels(settings: Settings, shelves: Shelves) -> list[ChannelRow]:
    states = {name: _state(file, settings) for name, file in sorted(shelves.channels.items())}
    serving: dict[str, str] = {}
    if all(state != "wrong" for state, _ in states.values()):
        chosen = carriers(
            shelves,
            simulator_url=settings.simulator_url,
            simulator_smtp_port=settings.simulator_smtp_port,
            order=settings.carriers,
        )
        serving = {medium: channel.name for medium, channel in chosen.items()}
    rows = []
    for name, (state, why) in states.items():
        file = shelves.channels[name]
        medium: str = file.channel.medium
        first = serving.get(medium, name)
        if state in {"on", "simulated"} and first != name:
            reason = f"{first} carries {medium} first; CARRIERS decides"
        else:
            reason = why
        rows.append(ChannelRow(name=name, medium=medium, state=state, why=reason, about=file.about))
    return rows


def _state(file: ChannelFile, settings: Settings) -> tuple[State, str]:
    try:
        own = conf(file.name, file.conf)
    except Invalid as error:
        return "wrong", str(error)
    if own is not None:
        return "on", "it has keys of its own" if file.conf.model_fields else "nothing to set"
    if settings.simulator_url and hasattr(file.conf, "simulated"):
        return "simulated", "no keys of its own"
    wanted = [name for name, field in file.conf.model_fields.items() if field.is_required()]
    return "off", "needs " + ", ".join(f"{file.name}_{name}".upper() for name in wanted)


def _locales(words: Words, kind: NotificationType) -> list[str]:
    found = {locale for medium in kind.mediums for locale in words.locales(kind.name, medium)}
    return ["default", *sorted(found - {""})]
