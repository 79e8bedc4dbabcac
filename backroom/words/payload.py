"""Whether a payload fits its schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from itertools import islice
from typing import Any

import jsonschema_rs

from backroom.domain.errors import Invalid
from backroom.domain.pointer import escaped
from backroom.words.near import unknown

# How many errors are looked at to find the one that helps most.
ERRORS = 20
UNEXPECTED = "additionalProperties"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def tellable(text: str) -> bool:
    """Whether a moment, RFC 3339, can be told in every time zone: the first and the last year end elsewhere."""
    try:
        return bool(MOMENT.fullmatch(text)) and MINYEAR < datetime.fromisoformat(text.upper()).year < MAXYEAR
    except ValueError:
        return False


# The validator's own takes leap seconds and the year 0, of which no letter could be made later.
FORMATS: dict[str, Callable[[str], bool]] = {"date-time": tellable}


class Payload:
    """The payload of one notification type.

    Args:
        schema: JSON Schema 2020-12.

    Raises:
        Invalid: The schema itself is wrong.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            # A masked value never gets into an error, and an offline validator never opens a connection for a `$ref`.
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema), validate_formats=True, formats=FORMATS, mask="it", offline=True
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            raise Invalid(pointer("", getattr(error, "instance_path", ())), "is no JSON Schema 2020-12") from error
        self._schema = schema

    def check(self, document: object, *, at: str) -> None:
        """Raise the first thing that is wrong, a field that there is not before any other.

        Args:
            document: The payload.
            at: JSON Pointer to the payload in what was posted.

        Raises:
            Invalid: A field is wrong.
        """
        errors = list(islice(self._validator.iter_errors(document), ERRORS))
        if errors:
            # A misspelt field is two errors, one too many and one missing: the misspelling is the one to tell.
            raise self._invalid(next((error for error in errors if error.kind.name == UNEXPECTED), errors[0]), at=at)

    def _invalid(self, error: jsonschema_rs.ValidationError, *, at: str) -> Invalid:
        field = pointer(at, error.instance_path)
        kind = error.kind.as_dict()
        if error.kind.name == "required":
            return Invalid(pointer(field, [kind["property"]]), "is missing")
        if error.kind.name == UNEXPECTED:
            name = kind["unexpected"][0]
            fields = self._fields(error.schema_path[:-1])
            at = pointer(field, [name])
            return unknown(at, "field", name, fields) if fields else Invalid(at, "there is no such field")
        if error.kind.name in {"oneOf", "anyOf"}:
            return Invalid(field, "fits none of the forms it may have")
        return Invalid(field, error.message.removeprefix("it ")[:200])

    def _fields(self, path: Iterable[str | int]) -> Sequence[str]:
        """The fields of an object, by where the schema speaks of it."""
        at: Any = self._schema
        for step in path:
            if step == "$ref":  # what stands elsewhere is not looked up
                return ()
            at = at[step]
        return list(at.get("properties", ()))


def pointer(at: str, path: Iterable[str | int]) -> str:
    """A JSON Pointer (RFC 6901) that goes on from another."""
    return at + "".join(f"/{escaped(str(step)[:80])}" for step in path)
