"""Reads the address of an engine: which kind it is, where, as whom, and how the line is kept private."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from backroom.domain.errors import Invalid

VARIABLE = "REDIS_URL"
PORT = 6379
SENTINEL_PORT = 26379
MOST_PORT = 65_535
FORMS = (
    "redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///run/valkey.sock, "
    "redis+sentinel://host:26379,host2:26379/service, redis+cluster://host:6379,host2:6379"
)
ESCAPES = "in a user or password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A"

Kind = Literal["single", "sentinel", "cluster"]

# Scheme: kind, TLS.
_SCHEMES: Mapping[str, tuple[Kind, bool]] = MappingProxyType(
    {
        "redis": ("single", False),
        "rediss": ("single", True),
        "unix": ("single", False),
        "redis+sentinel": ("sentinel", False),
        "rediss+sentinel": ("sentinel", True),
        "redis+cluster": ("cluster", False),
        "rediss+cluster": ("cluster", True),
    }
)
_COMMON = ("db", "username", "password", "client_name")
_SENTINEL = ("sentinel_username", "sentinel_password")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_YES = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Host(NamedTuple):
    """Where something listens."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """An engine's address, taken apart.

    Attributes:
        kind: One server, a primary that Sentinel watches, or a cluster.
        hosts: The server, the sentinels, or some nodes of the cluster.
        path: The server's Unix socket, empty where it listens on a port.
        service: What Sentinel calls the primary; empty for the other kinds.
        login: User, password, database and name at the engine, as redis-py calls them.
        sentinel_login: User and password at the sentinels.
        tls: What a connection with TLS is opened with, as redis-py calls it; None: plain.
    """

    kind: Kind
    hosts: tuple[Host, ...] = ()
    path: str = ""
    service: str = ""
    login: Mapping[str, Any] = field(repr=False)
    sentinel_login: Mapping[str, Any] = field(repr=False)
    tls: Mapping[str, Any] | None = None


def read_address(url: str) -> Address:
    """Take an address apart.

    Raises:
        Invalid: A part of it is wrong; the error names the part, and never what stands there, for it may be a secret.
    """
    scheme, there, rest = url.partition("://")
    if not there or scheme not in _SCHEMES:
        raise _bad_scheme(scheme if there else "")
    if "#" in rest:
        raise _wrong("has a #", ESCAPES)
    kind, tls = _SCHEMES[scheme]
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    user, at, where = authority.rpartition("@")
    options = dict(_options(query, kind=kind, tls=tls))
    options = _user(user, given=bool(at)) | options
    if scheme == "unix":
        if where or not path:
            raise _wrong("names no file", "an absolute path: unix:///run/valkey.sock?db=0")
        found: dict[str, Any] = {"path": f"/{unquote(path)}"}
    else:
        if "@" in path:
            raise _wrong("has a / before the @", ESCAPES)
        found = {"hosts": tuple(_hosts(where, kind=kind))} | _READ_PATH[kind](path, options)
    return Address(
        kind=kind,
        login={name: options[name] for name in _COMMON if name in options},
        sentinel_login={name.removeprefix("sentinel_"): options[name] for name in _SENTINEL if name in options},
        tls={name: options[name] for name in _TLS if name in options} if tls else None,
        **found,
    )


def _bad_scheme(scheme: str) -> Invalid:
    if scheme in {"amqp", "amqps"}:
        return _wrong("names RabbitMQ, which cannot carry this house", f"Valkey or Redis: {FORMS}")
    # Anything but a plain word may be a misplaced password.
    shown = f"begins with {scheme}://" if re.fullmatch(r"[a-z][a-z0-9+.-]{0,20}", scheme) else "begins with no scheme"
    return _wrong(shown, f"one of {FORMS}")


def _user(user: str, *, given: bool) -> dict[str, Any]:
    if not given:
        return {}
    name, _, password = user.partition(":")
    return {key: unquote(value) for key, value in (("username", name), ("password", password)) if value}


def _hosts(where: str, *, kind: Kind) -> Iterator[Host]:
    names = where.split(",")
    if kind == "single" and len(names) > 1:
        raise _wrong("names several hosts", "one, or the scheme redis+sentinel:// or redis+cluster://")
    if kind != "single" and not where:
        raise _wrong("names no host", f"one of {FORMS}")
    for name in names:
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]*))(?::(.*))?", name)
        if not found:
            raise _wrong("has a host that cannot be one", f"host:6379 or [::1]:6379; {ESCAPES}")
        port = found[3] or str(SENTINEL_PORT if kind == "sentinel" else PORT)
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= MOST_PORT:
            raise _wrong("has a port that is no number from 1 to 65535", ESCAPES)
        host = found[1] or found[2]
        if not host and kind != "single":
            raise _wrong("has an empty host", "host:port,host2:port with nothing between the commas left out")
        yield Host(host or "localhost", int(port))


def _options(query: str, *, kind: Kind, tls: bool) -> Iterator[tuple[str, Any]]:
    known = [*_COMMON, *(_SENTINEL if kind == "sentinel" else ()), *(_TLS if tls else ())]
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in given.items():
        if name in _TLS and not tls:
            raise _wrong(f"has {name} without TLS", "a scheme that begins with rediss")
        if name in _SENTINEL and kind != "sentinel":
            raise _wrong(f"has {name} without Sentinel", "the scheme redis+sentinel:// or rediss+sentinel://")
        if name not in known:
            shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "an option"
            raise _wrong(f"has {shown} after the ?, which is not known", f"of {', '.join(known)}")
        yield name, _value(name, value)
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise _wrong("has ssl_keyfile without ssl_certfile", "both, or a certificate file that holds both")


def _value(name: str, value: str) -> Any:
    if name == "db":
        return _database(value)
    if name == "ssl_check_hostname":
        if value.lower() not in _YES:
            raise _wrong(f"has something else than yes or no in {name}", "yes, or no")
        return _YES[value.lower()]
    if name == "ssl_cert_reqs" and value not in {"required", "none"}:
        raise _wrong(f"has an unknown word in {name}", "required, or none")
    if name in _FILES and not os.access(value, os.R_OK):
        raise _wrong(f"names a file in {name} that is not there or cannot be read", "the path of a PEM file")
    return value


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _wrong("has a database that is no number", f"redis://host:6379/0; {ESCAPES}")
    return int(text)


def _single_path(path: str, options: dict[str, Any]) -> dict[str, Any]:
    if path and "db" not in options:
        options["db"] = _database(path.rstrip("/") or "0")
    return {}


def _sentinel_path(path: str, _options: dict[str, Any]) -> dict[str, Any]:
    service = unquote(path.rstrip("/"))
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", service):
        wrong = "names no service" if not service else "has a path that is not the name of a service"
        raise _wrong(wrong, "what Sentinel calls the primary: redis+sentinel://host:26379/mymaster?db=0")
    return {"service": service}


def _cluster_path(path: str, options: dict[str, Any]) -> dict[str, Any]:
    if path.strip("/") not in {"", "0"} or options.get("db"):
        raise _wrong("names a database of a cluster", "none: KEY_PREFIX keeps two houses apart")
    return {}


_READ_PATH: Mapping[Kind, Callable[[str, dict[str, Any]], dict[str, Any]]] = MappingProxyType(
    {"single": _single_path, "sentinel": _sentinel_path, "cluster": _cluster_path}
)


def _wrong(wrong: str, right: str) -> Invalid:
    return Invalid(VARIABLE, wrong, right)
