"""The front door's page, written from its document: every route, and every type that it takes or gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backroom.cli._markdown import code, page, table

WHO = {"secretKey": "secret key", "userToken": "user token", "writeKey": "write key"}
_LIMITS = {
    "minLength": "length from",
    "maxLength": "length to",
    "minItems": "items from",
    "maxItems": "items to",
    "minimum": "from",
    "maximum": "to",
}
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}


def api_page(document: Mapping[str, Any], *, note: str) -> str:
    """The page.

    Args:
        document: OpenAPI 3.1, as the door serves it.
        note: Who writes this page.
    """
    operations = list(_operations(document))
    return page(
        "# The front door",
        note,
        "Every route, who may use it, what it takes and what it answers. A secret key acts for an application; a user "
        "token lets one user in, to that user's own things only; a write key may only hand in events. What is not "
        "yours is not there: 404.",
        "A running house shows the same at `/docs`, to try it out, and programs read [openapi.json](openapi.json), "
        "which is served as `/openapi.json`.",
        table(
            ("", "route", "who", "what it does"),
            (
                (method, f"[{code(path)}](#{operation['operationId']})", _who(operation), operation["summary"])
                for path, method, operation in operations
            ),
        ),
        *(block for path, method, operation in operations for block in _told(path, method, operation, document)),
        "## Types",
        *(block for name, schema in document["components"]["schemas"].items() for block in _type(name, schema)),
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _who(operation: Mapping[str, Any]) -> str:
    names = [WHO[name] for one in operation["security"] for name in one]
    return " or ".join(names) if names else "anyone"


def _told(path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    yield f'<a id="{operation["operationId"]}"></a>\n\n## {method} {path}'
    yield operation["summary"]
    if body := operation.get("requestBody"):
        content = ", ".join(f"{_named(one['schema'])} as {code(media)}" for media, one in body["content"].items())
        yield f"Takes {content}{'' if body['required'] else '; or nothing at all'}."
    if asked := operation["parameters"]:
        yield table(
            ("asked for", "in the", "is", "meaning"),
            (
                (code(one["name"]), one["in"], _kind(one["schema"], required=one["required"]), one["description"])
                for one in asked
            ),
        )
    yield table(
        ("answer", "body", "when"), (_answer(status, one, document) for status, one in operation["responses"].items())
    )


def _answer(status: str, told: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, str, str]:
    if "$ref" in told:
        told = document["components"]["responses"][told["$ref"].rpartition("/")[2]]
    content = told.get("content", {})
    body = " or ".join(_named(one["schema"]) if "json" in media else code(media) for media, one in content.items())
    headers = "".join(f" Header {code(name)}: {one['description']}" for name, one in told.get("headers", {}).items())
    return status, body, f"{told['description']}{headers}"


def _type(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<a id="{name}"></a>\n\n### {name}'
    if about := schema.get("description"):
        yield about
    if fields := schema.get("properties"):
        required = schema.get("required", ())
        yield table(
            ("field", "is", "meaning"),
            (
                (code(field), _kind(one, required=field in required), one.get("description", ""))
                for field, one in fields.items()
            ),
        )


def _kind(schema: Mapping[str, Any], *, required: bool) -> str:
    kind = _named(schema)
    limits = [f"{word} {schema[name]}" for name, word in _LIMITS.items() if name in schema]
    default = schema.get("default")
    if default not in (None, "", [], {}):
        limits.append(f"default {code(str(default))}")
    return ", ".join([kind, *limits, *(["**required**"] if required else [])])


def _named(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "anyOf" in schema:
        return " or ".join(_named(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(str(one)) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_named(schema['items'])}" if schema.get("items") else "list"
    if "pattern" in schema:
        return f"text like {code(schema['pattern'])}"
    return str(schema.get("format") or _WORDS.get(schema.get("type", ""), "anything"))
