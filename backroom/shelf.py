"""Reads the shelves by listing their folders, so that no list has to be remembered.

Ours are the packages `jobs`, `channels` and `alerts` and the folder `templates`; an application adds its own by naming
packages in `BACKROOM_SHELVES`, each with any of the same four folders.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from backroom.domain.errors import Invalid
from backroom.domain.job import DECLARATION as JOB
from backroom.domain.job import Job, Message
from backroom.domain.letter import Channel
from backroom.domain.rule import DECLARATION as RULE
from backroom.domain.rule import Rule
from backroom.settings import conf, listed

TEMPLATES = Path(__file__).parent.parent / "templates"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelFile:
    """One file of the channels shelf.

    Attributes:
        name: The file's name.
        about: Its one-line meaning.
        channel: The class that carries letters.
        conf: The settings it needs.
    """

    name: str
    about: str
    channel: Any
    conf: type[BaseModel]


class Shelves:
    """Everything that stands on the shelves.

    Args:
        packages: Packages with shelves of an application's own.
    """

    def __init__(self, packages: Sequence[str] = ()) -> None:
        self._packages = tuple(packages)

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        """Every job by name.

        Raises:
            Invalid: Two jobs have one name.
        """
        return _by_name(
            declaration
            for module in self._modules("jobs")
            for declaration in _declared(module, JOB)
            if isinstance(declaration, Job)
        )

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """Every alert rule by name.

        Raises:
            Invalid: Two rules have one name.
        """
        return _by_name(
            declaration
            for module in self._modules("alerts")
            for declaration in _declared(module, RULE)
            if isinstance(declaration, Rule)
        )

    @cached_property
    def channels(self) -> Mapping[str, ChannelFile]:
        """Every carrier by name.

        Raises:
            Invalid: A file has no `Conf` or no channel of the file's name, or two files have one name.
        """
        return _by_name(_channel_file(module) for module in self._modules("channels"))

    @cached_property
    def templates(self) -> tuple[Path, ...]:
        """The folders that hold notification types."""
        own = [Path(package.__path__[0]) / "templates" for package in map(importlib.import_module, self._packages)]
        return (TEMPLATES, *filter(Path.is_dir, own))

    def job_for(self, message: type[Message]) -> Job:
        """The job that a message is for.

        Raises:
            LookupError: No job on the shelf takes it.
        """
        try:
            return self._by_message[message]
        except KeyError:
            raise LookupError(f"no job takes {message.__name__}") from None

    @cached_property
    def _by_message(self) -> Mapping[type[Message], Job]:
        return {job.message: job for job in self.jobs.values()}

    def _modules(self, shelf: str) -> Iterator[ModuleType]:
        names = [shelf]
        for package in self._packages:
            path = Path(importlib.import_module(package).__path__[0]) / shelf
            if path.is_dir():
                names.append(f"{package}.{shelf}")
        for name in names:
            folder = importlib.import_module(name)
            for entry in sorted(pkgutil.iter_modules(folder.__path__), key=lambda found: found.name):
                if not entry.name.startswith("_"):
                    yield importlib.import_module(f"{name}.{entry.name}")


def real_carriers(shelves: Shelves, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The carriers on the shelf that need keys and find them in an environment, or in this process's if None."""
    return tuple(
        file.name
        for file in shelves.channels.values()
        if any(field.is_required() for field in file.conf.model_fields.values())
        and conf(file.name, file.conf, environ) is not None
    )


def carriers(shelves: Shelves, *, simulator_url: str, simulator_smtp_port: int, order: str) -> dict[str, Channel]:
    """The carrier that serves each medium.

    A carrier with keys of its own comes before one that would send to the simulator; among equals the operator's order
    decides, then the alphabet.

    Args:
        shelves: Where the channels stand.
        simulator_url: The simulator's address, or empty where there is none.
        simulator_smtp_port: Its SMTP port.
        order: Carriers' names, best first, separated by commas.

    Raises:
        Invalid: A carrier's settings are wrong, or the order names a carrier that is not on the shelf.
    """
    wanted = listed(order)
    for name in wanted:
        if name not in shelves.channels:
            raise Invalid("CARRIERS", "names a carrier that is not on the shelf", ", ".join(shelves.channels))
    real: dict[str, Channel] = {}
    simulated: dict[str, Channel] = {}
    for file in sorted(shelves.channels.values(), key=lambda file: (_rank(file.name, wanted), file.name)):
        own = conf(file.name, file.conf)
        if own is not None:
            real.setdefault(file.channel.medium, file.channel(own))
        elif simulator_url and (pretend := getattr(file.conf, "simulated", None)):
            simulated.setdefault(
                file.channel.medium, file.channel(pretend(url=simulator_url, smtp_port=simulator_smtp_port))
            )
    return simulated | real


def _rank(name: str, wanted: Sequence[str]) -> int:
    return wanted.index(name) if name in wanted else len(wanted)


def _declared(module: ModuleType, mark: str) -> Iterator[object]:
    for _, value in inspect.getmembers(module, callable):
        # Only what this file itself declares, not what it imports from another.
        if getattr(value, "__module__", None) == module.__name__ and hasattr(value, mark):
            yield getattr(value, mark)


def _channel_file(module: ModuleType) -> ChannelFile:
    name = module.__name__.rpartition(".")[2]
    settings = getattr(module, "Conf", None)
    channels = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and getattr(value, "name", None) == name
    ]
    if settings is None or len(channels) != 1:
        raise Invalid(
            f"channels/{name}.py", "does not declare a channel", f"one class with name = {name!r}, and a Conf"
        )
    return ChannelFile(
        name=name, about=(inspect.getdoc(module) or "").partition("\n")[0], channel=channels[0], conf=settings
    )


def _by_name(entries: Iterator[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        if entry.name in found:
            raise Invalid(entry.name, "stands on the shelf twice", "a name of its own")
        found[entry.name] = entry
    return found
