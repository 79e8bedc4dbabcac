"""The one place that reads the environment.

Every setting is an environment variable; `.env` in the working directory is read first, and the real environment wins.
A carrier's own settings stand in its file on the channels shelf (`Conf`) and are named after it:
`EMAIL_SENDGRID_API_KEY` is field `api_key` of `channels/email_sendgrid.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from backroom.domain.errors import Invalid

# Addresses that listen on every one of a machine's own, and that nobody can be reached at.
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to

Conf = TypeVar("Conf", bound=BaseModel)


class Settings(BaseSettings):
    """What an operator may set. Field `port` is read from `PORT`."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address that the front door listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that the front door listens on.")
    public_url: str = Field("", description="How the outside reaches the front door; http://HOST:PORT if empty.")

    redis_url: str = Field(
        "",
        description="Valkey or Redis, such as redis://localhost:6379/0; with TLS, behind Sentinel or as a cluster:"
        " docs/how-to/run-on-sentinel-or-cluster.md. Empty: `make up` starts one.",
    )
    database_url: str = Field(
        "", description="PostgreSQL, such as postgresql://backroom@localhost/backroom. Empty: `make up` starts one."
    )
    key_prefix: str = Field(
        "br", pattern=r"^[a-z0-9_-]{1,32}$", description="What every Valkey key of ours starts with."
    )
    backroom_home: Path = Field(Path(".backroom"), description="Where `make up` keeps engines, secrets and logs.")
    backroom_secret: SecretStr = Field(
        SecretStr(""), description="Signs user tokens and hashes keys. Empty: `make up` makes one and keeps it."
    )
    backroom_shelves: str = Field(
        "", description="Packages with shelves of your own, separated by commas: jobs, channels, alerts, templates."
    )

    simulator_url: str = Field(
        "", description="A running simulator's address. Carriers without keys of their own send there."
    )
    simulator_smtp_port: int = Field(0, ge=0, le=65535, description="The simulator's SMTP port. `make up` sets it.")
    carriers: str = Field(
        "", description="Which carrier serves a medium when several could, best first: email_smtp,sms_twilio."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much to log.")
    log_format: Literal["json", "console"] = Field("console", description="One JSON object a line, or for people.")

    body_limit: int = Field(
        1_048_576,
        ge=1_024,
        description="Largest request body in bytes; 413 above it. Records and sessions stop at 128 KiB, and events take"
        " 4 MB, whatever it says.",
    )
    queue_timeout_ms: int = Field(800, ge=50, description="How long the front door waits for Valkey before a 503.")
    store_timeout_ms: int = Field(
        2_000,
        ge=50,
        description="How long a connection to PostgreSQL may take, and a look at it before something is accepted.",
    )
    lease_ms: int = Field(15_000, ge=1_000, description="How long a silent worker keeps its messages.")
    worker_processes: int = Field(1, ge=1, le=256, description="How many processes `python -m workers` keeps at work.")
    worker_threads: int = Field(8, ge=1, le=1_000, description="How many jobs each of them runs at once.")
    worker_queues: str = Field("", description="The only queues they work on, separated by commas. Empty: all.")
    worker_stop_seconds: int = Field(
        25, ge=1, description="How long jobs may go on after SIGTERM before they are cut and given to other workers."
    )
    worker_grace_seconds: int = Field(
        10,
        ge=1,
        description="How far a job may run over its time limit, and how long a worker process may be silent, before its"
        " stacks are dumped; as long again, and it is killed and replaced.",
    )
    worker_recycle_jobs: int = Field(
        0, ge=0, description="After how many jobs a worker process is replaced by a fresh one. 0: never."
    )
    worker_recycle_mib: int = Field(
        0, ge=0, description="Above how much resident memory, in MiB, a worker process is replaced. 0: never."
    )
    once_hours: int = Field(24, ge=1, description="How long an idempotency key is remembered.")

    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="First port that a worker shows its metrics on; each further process takes the next free one."
        " 0: none.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that a worker shows its metrics on.")
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="What Prometheus has to send as a bearer token. Empty: the front door shows its metrics to this"
        " machine only, and with a PUBLIC_URL to nobody.",
    )

    @property
    def shelves(self) -> tuple[str, ...]:
        """The packages named by `BACKROOM_SHELVES`."""
        return listed(self.backroom_shelves)

    @property
    def home(self) -> Path:
        """Where `make up` keeps things, from anywhere; a link stays what the user calls it."""
        return Path(os.path.abspath(self.backroom_home))  # noqa: PTH100 - `resolve` would follow the link

    @property
    def lease(self) -> timedelta:
        """How long a silent worker keeps its messages."""
        return timedelta(milliseconds=self.lease_ms)

    @property
    def door_url(self) -> str:
        """How the outside reaches the front door, without a slash at the end."""
        return self.public_url.rstrip("/") or local_url(self.host, self.port)


def listed(names: str) -> tuple[str, ...]:
    """What a setting lists, separated by commas."""
    return tuple(filter(None, (name.strip() for name in names.split(","))))


def local_url(host: str, port: int | str) -> str:
    """How a door that listens there is reached from the same machine."""
    host = "127.0.0.1" if host in EVERYWHERE else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        Invalid: A variable has a value that its setting does not take.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise _invalid(error, prefix="") from error


def conf(name: str, model: type[Conf], environ: Mapping[str, str] | None = None) -> Conf | None:
    """A carrier's own settings, or None where a required one is not set: then the carrier is off.

    Args:
        name: The carrier's name, whose upper case is the prefix of its variables.
        model: Its `Conf`.
        environ: Where to read; the process's environment and `.env` if None.

    Raises:
        Invalid: A variable is set to something that its field does not take.
    """
    prefix = f"{name.upper()}_"
    found = {
        field: value
        for field in model.model_fields
        if (value := (environ if environ is not None else _environment()).get(prefix + field.upper(), ""))
    }
    if missing(model, found):
        return None
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise _invalid(error, prefix=prefix) from error


def missing(model: type[BaseModel], found: Mapping[str, object]) -> list[str]:
    """The required fields of a carrier's settings that are not set."""
    return [name for name, field in model.model_fields.items() if field.is_required() and name not in found]


@cache
def _environment() -> Mapping[str, str]:
    from dotenv import dotenv_values  # noqa: PLC0415 - comes with pydantic-settings, needed by processes with carriers only

    return {**{name: value or "" for name, value in dotenv_values(".env").items()}, **os.environ}


def _invalid(error: ValidationError, *, prefix: str) -> Invalid:
    # The value itself stays out of the message: it may be a secret.
    first = error.errors(include_input=False, include_url=False)[0]
    return Invalid(prefix + "_".join(str(part) for part in first["loc"]).upper(), first["msg"])
