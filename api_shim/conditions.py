"""Conditional requests (RFC 9110, section 13) over integer versions."""

from __future__ import annotations

import re

import falcon.asgi

from api_shim.problem import Problem
from backroom.domain.record import Condition

# One entity tag of a list, and what may follow it.
_TAG = re.compile(r'\s*(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def tag(version: int) -> str:
    """The strong entity tag of a version."""
    return f'"{version}"'


def write_condition(req: falcon.asgi.Request) -> Condition:
    """In which state a write must find what it changes.

    `If-Match: "3"` wants one of these versions, `If-Match: *` that it exists, `If-None-Match: *` that it does not.

    Raises:
        Problem: 400, where a header says something else.
    """
    wanted, unwanted = req.get_header("If-Match"), req.get_header("If-None-Match")
    if wanted is not None and unwanted is not None:
        raise _bad("If-None-Match", "cannot be combined with If-Match")
    if unwanted is not None:
        if unwanted.strip() != "*":
            raise _bad("If-None-Match", 'takes * on a write; to compare versions use If-Match: "3"')
        return Condition(exists=False)
    if wanted is None:
        return Condition()
    if wanted.strip() == "*":
        return Condition(exists=True)
    # A weak tag never matches here, and neither does one that we did not make.
    return Condition(versions=_versions("If-Match", wanted, weak=False))


def is_known(req: falcon.asgi.Request, version: int) -> bool:
    """Whether the caller has this version already (`If-None-Match`): then 304.

    Raises:
        Problem: 400, where a header cannot be read; 412, where `If-Match` names other versions.
    """
    wanted, known = req.get_header("If-Match"), req.get_header("If-None-Match")
    if wanted is not None and wanted.strip() != "*" and version not in _versions("If-Match", wanted, weak=False):
        raise Problem(412, "condition-failed", "It has another version", headers={"ETag": tag(version)})
    if known is None:
        return False
    return known.strip() == "*" or version in _versions("If-None-Match", known, weak=True)


def _versions(header: str, text: str, *, weak: bool) -> tuple[int, ...]:
    versions: list[int] = []
    at = 0
    while at < len(text):
        match = _TAG.match(text, at)
        if match is None:
            raise _bad(header, 'takes * or tags in quotes, such as "3"')
        if (weak or not match["weak"]) and _VERSION.fullmatch(match["opaque"]):
            versions.append(int(match["opaque"]))
        at = match.end()
    if not text.strip():
        raise _bad(header, 'takes * or tags in quotes, such as "3"')
    return tuple(versions)


def _bad(header: str, says: str) -> Problem:
    return Problem(
        400, "bad-condition", "A condition cannot be read", detail=f"{header} {says}", more={"header": header}
    )
