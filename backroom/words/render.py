"""A template, a reader and a payload become the parts of a letter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from backroom.domain.errors import TemplateFailed
from backroom.words.filters import FILTERS, READER
from backroom.words.plain import one_line, paragraphs, sms
from backroom.words.reader import Reader

# No part of a letter is longer: mail clients clip at a tenth of this.
LONGEST = 1_000_000

# What a medium's carriers count on. A medium that is not named here gets every block that its file has.
NEEDED = {"email": ("subject", "text", "html"), "sms": ("text",), "inbox": ("title", "body")}

LINK = re.compile(r"(https?://[^\s\"<>]+|/(?!/)[^\s\"<>]*)\Z")

# What a template's own code can raise. The words of any but the engine's own may quote the payload.
FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What a template became.

    Attributes:
        parts: The parts by name.
        locale: The locale they are written in, as a BCP 47 tag such as `de-AT`.
        template: The file they were written from, below its shelf.
    """

    parts: dict[str, str]
    locale: str
    template: str


class Renderer:
    """The template engine, once for HTML with everything escaped, and once for plain text with nothing escaped."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._html = _environment(roots, escape=True)
        self._plain = _environment(roots, escape=False)

    def render(self, file: str, medium: str, *, reader: Reader, variables: Mapping[str, Any]) -> Rendered:
        """Write the parts that a template file holds as blocks.

        Raises:
            TemplateFailed: Where, and why.
        """
        names = self._template(self._plain, file).blocks
        for name in NEEDED.get(medium, ()):
            if name not in names:
                raise TemplateFailed(file, line=0, variable="", why=f"there is no block `{name}`")
        parts = {name: self._part(file, name, medium, reader=reader, variables=variables) for name in names}
        for name in NEEDED.get(medium, tuple(names)):
            if not parts[name]:
                raise TemplateFailed(file, line=0, variable="", why=f"block `{name}` came out empty")
        return Rendered(parts={name: part for name, part in parts.items() if part}, locale=reader.tag, template=file)

    def _part(self, file: str, name: str, medium: str, *, reader: Reader, variables: Mapping[str, Any]) -> str:
        template = self._template(self._html if name == "html" else self._plain, file)
        context = template.new_context({**variables, READER: reader, "locale": reader.tag})
        try:
            text = _bounded(template.blocks[name](context), file=file)
        except FAILURES as error:
            # The cause is left out: it may quote the payload.
            raise _failed(error, file=file) from None
        return _tidy(text, name, medium, file=file)

    def _template(self, environment: ImmutableSandboxedEnvironment, file: str) -> Template:
        try:
            return environment.get_template(file)
        except FAILURES as error:
            raise _failed(error, file=file) from None


class Missing(StrictUndefined):
    """A variable that is not there: whatever a template does with it but asking `is defined` fails, and names it."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = None) -> None:
        super().__init__(hint, obj, name, exc or cast("type[UndefinedError]", partial(MissingVariable, name or "")))


class MissingVariable(UndefinedError):
    """A template used a variable that is not there."""

    def __init__(self, name: str, message: str | None = None) -> None:
        super().__init__(message)
        self.name = name


class Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox in which `order.items` is the payload's field `items` rather than a dictionary's method."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The field of a payload's object, or else what the sandbox allows."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _environment(roots: Sequence[Path], *, escape: bool) -> Sandbox:
    environment = Sandbox(
        loader=FileSystemLoader([str(root) for root in roots]),
        autoescape=escape,
        undefined=Missing,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters.update(FILTERS)
    return environment


def _bounded(chunks: Iterable[str], *, file: str) -> str:
    kept: list[str] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > LONGEST:
            raise TemplateFailed(file, line=0, variable="", why=f"a part is longer than {LONGEST} characters")
        kept.append(chunk)
    return "".join(kept)


def _tidy(text: str, name: str, medium: str, *, file: str) -> str:
    if name in {"subject", "title"}:
        return one_line(text)
    if name == "link":
        link = text.strip()
        if link and not LINK.match(link):
            raise TemplateFailed(file, line=0, variable="", why="a link starts with https://, http:// or one slash")
        return link
    if name == "html":
        return text.strip()
    return sms(text) if medium == "sms" else paragraphs(text)


def _failed(error: Exception, *, file: str) -> TemplateFailed:
    where, line = _place(error, file)
    why = str(error) if isinstance(error, TemplateError) else type(error).__name__
    variable = error.name if isinstance(error, MissingVariable) else ""
    if isinstance(error, TemplateSyntaxError):
        where, line, why = error.name or file, error.lineno, error.message or ""
    if isinstance(error, TemplateNotFound):
        why = f"there is no template {error.name}"
    return TemplateFailed(where, line=line, variable=variable, why=why)


def _place(error: Exception, file: str) -> tuple[str, int]:
    # The innermost frame that a template was compiled to; Jinja keeps the way back to the template's own lines.
    place = (file, 0)
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = (template.name or file, template.get_corresponding_lineno(trace.tb_lineno))
        trace = trace.tb_next
    return place
