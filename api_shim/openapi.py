"""The front door's document (OpenAPI 3.1), made of what its routes say and of the types that check their bodies."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import falcon
import msgspec
import msgspec.inspect

from api_shim.contract import JSON, Answer, Contract, Parameter, contract
from api_shim.door import allowed
from api_shim.problem import MEDIA_TYPE, ProblemDetails

VERSION = "3.1.0"
REFERENCE = "#/components/schemas/{name}"

ABOUT = """The back room of a web application: post what is to be done, and read what became of it.

Every error is a problem (RFC 9457) with a `type` that never changes and, where fields are wrong, a JSON Pointer to
each. Times are RFC 3339 in UTC, ids are UUIDs; what is not yours is not there: 404."""

# Who may come in, as OpenAPI says it. A key may travel as the user name of basic authentication, too, as libraries of
# the Segment family send it.
_SCHEMES = {
    "app": ("secretKey", "An application's secret key, `br_live_…`."),
    "user": ("userToken", "A short-lived token that lets one user in, to that user's own things only."),
    "track": ("writeKey", "A key that may only hand in events, `br_track_…`; it may sit in a browser."),
}

# Where a docstring begins to tell of fields.
_FIELDS = "\n\nAttributes:\n"

_UUID = {"type": "string", "format": "uuid"}
_ID = {"type": "string", "minLength": 1, "maxLength": 200}
# The names that stand in paths, wherever they do.
_IN_PATHS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "alert": ("Its id.", _UUID),
    "file": ("Its name.", {"type": "string"}),
    "collection": ("Where records are kept.", {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"}),
    "item": ("Its id.", _UUID),
    "key": ("The record's name in its collection.", _ID),
    "notification": ("Its id.", _UUID),
    "operation": ("The id that the write was accepted with.", _UUID),
    "rule": ("The rule's name.", {"type": "string"}),
    "user": ("The user's id in the application.", _ID),
}

# The problems that many routes have: what the document calls them, and when there is one.
_SHARED = {
    400: ("Unreadable", "The request cannot be read."),
    401: ("Unauthorized", "No key or token, or not a good one."),
    403: ("Forbidden", "The key or token is good, but not for this."),
    404: ("NotFound", "It is not there, or not the caller's."),
    408: ("TooSlow", "The body did not come in time."),
    413: ("TooLarge", "The body is too large."),
    422: ("Invalid", "Something in the request is wrong; `errors` says which field, and what would be right."),
    429: ("TooMuch", "Too much at once; `Retry-After` says when to come again."),
    503: (
        "Away",
        "What is needed for this does not answer, and nothing was done; `Retry-After` says when to try again.",
    ),
}


def document(routes: Iterable[tuple[str, object]], *, version: str) -> dict[str, Any]:
    """The document of these routes.

    Args:
        routes: URI template and resource of each.
        version: The house's.
    """
    operations = list(_operations(routes))
    types = [ProblemDetails, *dict.fromkeys(kind for _, _, _, said in operations for kind in _types(said))]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    meanings = _meanings(types)
    known = dict(zip(map(_name, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, str] = {}
    for path, method, resource, said in operations:
        tag, about = _tag(resource)
        tags[tag] = about
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, resource, said, tag=tag, schemas=known)
    return {
        "openapi": VERSION,
        "info": {"title": "Backroom", "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in sorted(tags.items())],
        "paths": paths,
        "components": {
            "responses": {name: _problem(about) for name, about in _SHARED.values()},
            "schemas": {name: _readable(schema, meanings.get(name, {})) for name, schema in sorted(components.items())},
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": about} for name, about in _SCHEMES.values()
            },
        },
    }


def _operations(routes: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str, object, Contract]]:
    for path, resource in routes:
        for method in falcon.HTTP_METHODS:
            said = contract(resource, method)
            if said is not None:
                yield path, method, resource, said


def _types(said: Contract) -> Iterator[Any]:
    if said.takes is not None:
        yield said.takes
    yield from (answer.body for answer in said.gives.values() if answer.body is not None)


def _name(kind: Any) -> str:
    # Types such as `dict[str, Any]` cannot all be keys of a dictionary.
    return repr(kind)


def _tag(resource: object) -> tuple[str, str]:
    """The file of a route is the chapter that it stands in."""
    module = inspect.getmodule(type(resource))
    about = (inspect.getdoc(module) or "").partition("\n")[0]
    return (module.__name__ if module else "").rpartition(".")[2], about


def _operation(
    path: str, method: str, resource: object, said: Contract, *, tag: str, schemas: Mapping[str, Any]
) -> dict[str, Any]:
    told = inspect.getdoc(getattr(resource, f"on_{method.lower()}")) or ""
    kinds = allowed(resource, method) or frozenset()
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"[a-z]+", path.removeprefix("/v1"))]),
        "tags": [tag],
        "summary": told.partition("\n")[0],
        "security": [{_SCHEMES[kind][0]: []} for kind in sorted(kinds)],
        "parameters": [*_in_path(path), *map(_parameter, said.asks)],
        "responses": _responses(path, method, said, kinds=kinds, schemas=schemas),
    }
    if said.takes is not None:
        operation["requestBody"] = {
            "required": not said.optional,
            "content": {media: {"schema": schemas[_name(said.takes)]} for media in said.media},
        }
    return operation


def _in_path(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        about, schema = _IN_PATHS[name]
        yield {"name": name, "in": "path", "required": True, "description": about, "schema": dict(schema)}


def _parameter(asked: Parameter) -> dict[str, Any]:
    return {
        "name": asked.name,
        "in": asked.place,
        "required": asked.required,
        "description": asked.about,
        "schema": dict(asked.schema),
    }


def _responses(
    path: str, method: str, said: Contract, *, kinds: frozenset[str], schemas: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[int, dict[str, Any]] = {}
    for status in _shared(path, method, said, kinds=kinds):
        found[status] = {"$ref": f"#/components/responses/{_SHARED[status][0]}"}
    for status, about in said.problems.items():
        found[status] = _problem(about)
    for status, answer in said.gives.items():
        found[status] = _answer(answer, schemas)
    return {str(status): found[status] for status in sorted(found)}


def _shared(path: str, method: str, said: Contract, *, kinds: frozenset[str]) -> Iterator[int]:
    """Which problems a route has by what it does."""
    if kinds:
        yield from (401, 403, 503)
    if said.takes is not None:
        yield from (400, 408, 413, 422)
    if "{" in path or said.asks:
        yield 422
    if "{" in path and (method == "GET" or "user" in kinds):
        yield 404
    if kinds and method != "GET":
        yield 429


def _problem(about: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name=ProblemDetails.__name__)}
    return {"description": about, "content": {MEDIA_TYPE: {"schema": schema}}}


def _answer(answer: Answer, schemas: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.about}
    if answer.headers:
        told["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in answer.headers.items()
        }
    if answer.body is not None:
        told["content"] = {answer.media: {"schema": schemas[_name(answer.body)]}}
    elif answer.media != JSON:
        told["content"] = {answer.media: {"schema": {"type": "string"}}}
    return told


def _readable(schema: dict[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    """A type's docstring as its meaning, and as that of each of its fields."""
    about, _, _ = inspect.cleandoc(schema.pop("description", "")).partition(_FIELDS)
    if about:
        schema["description"] = " ".join(about.split())
    for name, told in schema.get("properties", {}).items():
        if name in meanings:
            told["description"] = meanings[name]
    return schema


def _meanings(kinds: Iterable[Any]) -> dict[str, dict[str, str]]:
    """What the docstrings say about the fields of each type, by the type's name and the field's name on the wire."""
    found: dict[str, dict[str, str]] = {}
    waiting = list(msgspec.inspect.multi_type_info(kinds))
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, msgspec.inspect.StructType) and kind.cls.__name__ not in found:
            said = {name: meaning for cls in reversed(kind.cls.__mro__) for name, meaning in _fields(cls)}
            found[kind.cls.__name__] = {
                field.encode_name: said[field.name] for field in kind.fields if field.name in said
            }
            waiting.extend(field.type for field in kind.fields)
        inner = (getattr(kind, name, None) for name in ("type", "item_type", "value_type"))
        waiting.extend(one for one in (*inner, *getattr(kind, "types", ())) if isinstance(one, msgspec.inspect.Type))
    return found


def _fields(cls: type) -> Iterator[tuple[str, str]]:
    _, _, fields = inspect.cleandoc(cls.__doc__ or "").partition(_FIELDS)
    for name, meaning in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", fields, re.MULTILINE):
        yield name, " ".join(meaning.split())


__all__ = ["document"]
