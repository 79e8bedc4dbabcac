"""Every answer that a test gets of a front door is held against the door's document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import httpx
import jsonschema_rs

from backroom.cli._catalogue import door_document
from backroom.settings import Settings

# What a browser asks by itself, and what asks for a head without a body, is not in the document.
LEFT_OUT = {"OPTIONS", "HEAD"}


def check(response: httpx.Response) -> None:
    """For `event_hooks`: the status must be one that the route's chapter names, and the body what it says."""
    request = response.request
    if request.method not in LEFT_OUT:
        response.read()
        wrong = _known().wrong(request.method, request.url.path, response)
        assert not wrong, f"{request.method} {request.url.path} answers {response.status_code}: {wrong}"


@cache
def _known() -> Document:
    return Document(door_document(Settings(_env_file=None)))


class Document:
    """Knows the chapters.

    Args:
        document: OpenAPI 3.1.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def wrong(self, method: str, path: str, response: httpx.Response) -> str:
        """What an answer has that the document does not, or an empty text."""
        operation = next(self._operations(method, path.rstrip("/") or "/"), None)
        if operation is None:
            return "" if response.status_code in {404, 405, 308} else "there is no such route"
        told = operation["responses"].get(str(response.status_code))
        if told is None:
            return f"a status that is not documented: {response.text[:200]}"
        if "$ref" in told:
            told = self._document["components"]["responses"][told["$ref"].rpartition("/")[2]]
        return self._wrong_body(told.get("content", {}), response)

    def _wrong_body(self, content: dict[str, Any], response: httpx.Response) -> str:
        media = response.headers.get("Content-Type", "").partition(";")[0]
        if not response.content:
            return "no body, though one is documented" if content else ""
        if not content:
            return f"a body, though none is documented: {response.text[:200]}"
        if media not in content and "application/octet-stream" not in content:
            return f"{media}, though {', '.join(content)} is documented"
        if media.endswith("json"):
            root = {**content[media]["schema"], "components": self._document["components"]}
            for error in jsonschema_rs.validator_for(root).iter_errors(response.json()):
                return f"{list(error.instance_path)}: {error.message}"
        return ""

    def _operations(self, method: str, path: str) -> Iterator[dict[str, Any]]:
        for pattern, methods in self._patterns:
            if pattern.fullmatch(path) and method.lower() in methods:
                yield methods[method.lower()]

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
        # `/v1/alerts/rules` comes before `/v1/alerts/{alert}`.
        paths = sorted(self._document["paths"].items(), key=lambda found: found[0].count("{"))
        return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods) for path, methods in paths]
