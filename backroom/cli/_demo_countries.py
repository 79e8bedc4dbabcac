"""Where a shop's customers live: the language they read and the clock they live by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A country as its readers see it.

    Attributes:
        locale: BCP 47.
        zone: IANA time zone; where a country has several, that of most of its people.
    """

    locale: str
    zone: str


HOME = Place("en-GB", "Europe/London")

# Names as shops write them, in the spelling of the British shop whose year is public.
PLACES: Mapping[str, Place] = {
    "Australia": Place("en-AU", "Australia/Sydney"),
    "Austria": Place("de-AT", "Europe/Vienna"),
    "Bahrain": Place("ar-BH", "Asia/Bahrain"),
    "Belgium": Place("nl-BE", "Europe/Brussels"),
    "Brazil": Place("pt-BR", "America/Sao_Paulo"),
    "Canada": Place("en-CA", "America/Toronto"),
    "Channel Islands": Place("en-GB", "Europe/Jersey"),
    "Cyprus": Place("el-CY", "Asia/Nicosia"),
    "Czech Republic": Place("cs-CZ", "Europe/Prague"),
    "Denmark": Place("da-DK", "Europe/Copenhagen"),
    "EIRE": Place("en-IE", "Europe/Dublin"),
    "European Community": Place("en-GB", "Europe/Brussels"),
    "Finland": Place("fi-FI", "Europe/Helsinki"),
    "France": Place("fr-FR", "Europe/Paris"),
    "Germany": Place("de-DE", "Europe/Berlin"),
    "Greece": Place("el-GR", "Europe/Athens"),
    "Hong Kong": Place("en-HK", "Asia/Hong_Kong"),
    "Iceland": Place("is-IS", "Atlantic/Reykjavik"),
    "Ireland": Place("en-IE", "Europe/Dublin"),
    "Israel": Place("he-IL", "Asia/Jerusalem"),
    "Italy": Place("it-IT", "Europe/Rome"),
    "Japan": Place("ja-JP", "Asia/Tokyo"),
    "Lebanon": Place("ar-LB", "Asia/Beirut"),
    "Lithuania": Place("lt-LT", "Europe/Vilnius"),
    "Malta": Place("en-MT", "Europe/Malta"),
    "Netherlands": Place("nl-NL", "Europe/Amsterdam"),
    "Norway": Place("nb-NO", "Europe/Oslo"),
    "Poland": Place("pl-PL", "Europe/Warsaw"),
    "Portugal": Place("pt-PT", "Europe/Lisbon"),
    "RSA": Place("en-ZA", "Africa/Johannesburg"),
    "Saudi Arabia": Place("ar-SA", "Asia/Riyadh"),
    "Singapore": Place("en-SG", "Asia/Singapore"),
    "South Africa": Place("en-ZA", "Africa/Johannesburg"),
    "Spain": Place("es-ES", "Europe/Madrid"),
    "Sweden": Place("sv-SE", "Europe/Stockholm"),
    "Switzerland": Place("de-CH", "Europe/Zurich"),
    "USA": Place("en-US", "America/New_York"),
    "United Arab Emirates": Place("ar-AE", "Asia/Dubai"),
    "United Kingdom": HOME,
}


def place_of(country: str) -> Place:
    """The place of a country; one that is not known, or not given, reads like the shop's own."""
    return PLACES.get(country.strip(), HOME)
