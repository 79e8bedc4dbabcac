"""What a template can say in its reader's language: dates, times, money, numbers, plurals.

```jinja
{{ shipped_at | date }}   {{ price | money(currency) }}   {{ count | plural(one="# parcel", other="# parcels") }}
```
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal
from jinja2 import TemplateRuntimeError, Undefined, pass_context
from jinja2.runtime import Context

from backroom.words.reader import Reader

# The name under which a context holds its reader; a payload cannot have such a field.
READER = "reader of this letter"

STYLES = ("short", "medium", "long", "full")


@pass_context
def datetime(context: Context, value: object, style: str = "medium") -> str:
    """A moment, given as RFC 3339 text: the date and the time of day in the reader's zone."""
    reader = _reader(context)
    return format_datetime(_moment(value), _style(style), tzinfo=reader.zone, locale=reader.locale)


@pass_context
def date(context: Context, value: object, style: str = "long") -> str:
    """The day of a moment in the reader's zone, or a day given as `YYYY-MM-DD`."""
    reader = _reader(context)
    if isinstance(value, str) and len(value) == len("YYYY-MM-DD"):
        return format_date(_moment(value).date(), _style(style), locale=reader.locale)
    return format_date(_moment(value).astimezone(reader.zone).date(), _style(style), locale=reader.locale)


@pass_context
def time(context: Context, value: object, style: str = "short") -> str:
    """The time of day of a moment in the reader's zone."""
    reader = _reader(context)
    return format_time(_moment(value), _style(style), tzinfo=reader.zone, locale=reader.locale)


@pass_context
def money(context: Context, value: object, currency: str) -> str:
    """An amount in a currency, given as an ISO 4217 code."""
    return format_currency(_decimal(value), currency, locale=_reader(context).locale)


@pass_context
def number(context: Context, value: object) -> str:
    """A number."""
    return format_decimal(_decimal(value), locale=_reader(context).locale)


@pass_context
def plural(context: Context, value: object, **forms: str) -> str:
    """The form for a number in its language: `zero`, `one`, `two`, `few`, `many`, `other`; `#` is the number."""
    form = _reader(context).locale.plural_form(_decimal(value))
    if "other" not in forms:
        raise TemplateRuntimeError("plural: give the form `other`")
    return forms.get(form, forms["other"]).replace("#", number(context, value))


FILTERS: dict[str, Callable[..., Any]] = {each.__name__: each for each in (datetime, date, time, money, number, plural)}


def _reader(context: Context) -> Reader:
    reader = context.get(READER)
    if not isinstance(reader, Reader):
        raise TemplateRuntimeError("import this macro `with context`, so that it knows its reader")
    return reader


def _style(style: str) -> Any:
    if style not in STYLES:
        raise TemplateRuntimeError(f"a style is one of {', '.join(STYLES)}")
    return style


def _moment(value: object) -> dt.datetime:
    if isinstance(value, Undefined):
        str(value)  # A missing variable names itself.
    try:
        moment = dt.datetime.fromisoformat(value.upper()) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, dt.datetime):
        # The value stays out: it is the reader's own.
        raise TemplateRuntimeError("a date or time has to be RFC 3339 text") from None
    return moment


def _decimal(value: object) -> Decimal:
    if isinstance(value, Undefined):
        str(value)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise TemplateRuntimeError("a number has to be a number") from None
    return amount
