"""Who reads: the locale to write in, and the zone to tell the time in."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError

# A file without a locale in its name is written in this one.
DEFAULT = "en"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """One reader's way of reading.

    Attributes:
        written: Which of the template's locales is used; an empty string for the default.
        tag: The locale of the letter as a BCP 47 tag: its language is the template's, its region the reader's where
            both speak that language.
        locale: The same for numbers, dates and plurals.
        zone: The reader's time zone.
    """

    written: str
    tag: str
    locale: Locale
    zone: ZoneInfo


def reader_of(locale: str, time_zone: str, *, written: Container[str]) -> Reader:
    """Find the nearest locale that a template is written in: `de-AT`, then `de`, then the default.

    Args:
        locale: The reader's locale as a BCP 47 tag.
        time_zone: The reader's IANA time zone.
        written: The locales the template is written in, in the spelling of `canonical`.
    """
    found = next((tag for tag in _ladder(canonical(locale)) if tag in written), "")
    tag = canonical(locale)
    if _language(tag) != _language(found or DEFAULT):
        tag = found or DEFAULT
    return Reader(written=found, tag=tag, locale=_locale(tag), zone=_zone(time_zone))


def canonical(locale: str) -> str:
    """The usual spelling of a BCP 47 tag without its extensions: `DE_at-u-co-phonebk` is `de-AT`."""
    first, *rest = locale.strip().replace("_", "-").split("-")
    # One letter alone opens an extension, which never says what language it is.
    return "-".join([first.lower(), *(_subtag(part) for part in takewhile(lambda part: len(part) > 1, rest))])


def _subtag(part: str) -> str:
    script, region = 4, 2
    if len(part) == script:
        return part.title()
    return part.upper() if len(part) == region else part


def _ladder(tag: str) -> Iterator[str]:
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def _language(tag: str) -> str:
    return tag.partition("-")[0]


@lru_cache(maxsize=256)
def _locale(tag: str) -> Locale:
    # A tag that Unicode has no data for is read as the longest part of it that it has data for.
    for shorter in _ladder(tag):
        try:
            return Locale.parse(shorter, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale.parse(DEFAULT)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    # An unknown zone is refused at the door. One that this machine's data lacks must not hold back a letter.
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")
