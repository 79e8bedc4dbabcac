"""Reads a shop's orders from a file, one after another, whatever its size.

The file is CSV, or CSV packed with xz, with a line for each thing that was ordered and the columns `invoice`, `sku`,
`qty`, `at`, `price`, `customer` and `country`; lines of one invoice stand together. The file of descriptions has the
columns `sku` and `description`.
"""

from __future__ import annotations

import csv
import itertools
import lzma
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from backroom.cli._demo_countries import HOME
from backroom.domain.errors import Invalid

COLUMNS = ("invoice", "sku", "qty", "at", "price", "customer", "country")
MOST_LINES = 2_000
MOST_QUANTITY = 1_000_000
LONGEST_SKU = LONGEST_NUMBER = 40
LONGEST_NAME = 120

Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One thing of an order, and how many of it."""

    sku: str
    name: str
    quantity: int
    price: float
    category: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What somebody ordered.

    Attributes:
        number: The invoice's number.
        customer: The customer's id in the shop, or empty for a guest.
        country: The country's name, as the shop writes it.
        at: When it was ordered; the shop's clock stands in London.
        lines: What was ordered.
    """

    number: str
    customer: str
    country: str
    at: datetime
    lines: tuple[Line, ...]

    @property
    def user(self) -> str:
        """Who is told: a guest is somebody else with each invoice."""
        return f"customer-{self.customer}" if self.customer else f"guest-{self.number}"

    @property
    def total(self) -> float:
        """What it costs."""
        return round(math.fsum(line.quantity * line.price for line in self.lines), 2)


@dataclass
class Left:
    """What a file has that is no order, with the reasons: nothing is dropped silently."""

    invoices: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)


def read_orders(path: Path, *, names: Mapping[str, str], left: Left) -> Iterator[Order]:
    """The orders of a file, in its order.

    Args:
        path: `.csv`, or `.csv.xz`.
        names: Descriptions by SKU in small letters.
        left: Counts what does not become an order, with the reasons.

    Raises:
        Invalid: The file is not what it should be.
    """
    for number, rows in itertools.groupby(_rows(path, COLUMNS), key=lambda row: row["invoice"].strip()):
        if reason := _no_order(number):
            left.invoices[reason] += 1
            left.lines["part of an invoice that is left out"] += sum(1 for _ in rows)
            continue
        order, faults = _order(number, rows, names)
        left.lines.update(faults)
        if order is None:
            left.invoices["nothing of it was shipped"] += 1
        elif not (order.customer or order.total):
            left.invoices["a correction of the stock: nobody's, and nothing to pay"] += 1
            left.lines["part of an invoice that is left out"] += len(order.lines)
        else:
            yield order


def read_names(path: Path) -> dict[str, str]:
    """Descriptions by SKU in small letters.

    Raises:
        Invalid: The file is not what it should be.
    """
    return {
        row["sku"].strip().lower(): row["description"].strip()[:LONGEST_NAME]
        for row in _rows(path, ("sku", "description"))
        if row["description"].strip()
    }


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    opener = lzma.open if path.suffix == ".xz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise Invalid(str(path), f"has no column {missing[0]!r}", "the columns " + ", ".join(columns))
            yield from reader
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error) as error:
        raise Invalid(str(path), f"cannot be read: {error}", "a CSV file, or one packed with xz") from error


def _no_order(number: str) -> str:
    if not number or len(number) > LONGEST_NUMBER:
        return "without a number that fits"
    if number[0] in "Cc":
        return "cancellation"
    return "correction of the books" if not number[0].isdigit() else ""


def _order(number: str, rows: Iterator[Row], names: Mapping[str, str]) -> tuple[Order | None, Counter[str]]:
    """An order, if anything is left of it, and what was left out of it."""
    faults: Counter[str] = Counter()
    lines: list[Line] = []
    customer = country = ""
    at: datetime | None = None
    for row in rows:
        customer, country = customer or row["customer"].strip(), country or row["country"].strip()
        moment, read = _moment(row["at"]), _line(row, names)
        if isinstance(read, str):
            faults[read] += 1
        elif moment is None:
            faults["without a time"] += 1
        elif len(lines) == MOST_LINES:
            faults[f"more than {MOST_LINES} in one order"] += 1
        else:
            lines.append(read)
            # Some invoices were typed over several minutes; it left when the last line was in.
            at = max(at, moment) if at else moment
    if not lines or at is None:
        return None, faults
    return Order(number=number, customer=customer, country=country, at=at, lines=tuple(lines)), faults


def _line(row: Row, names: Mapping[str, str]) -> Line | str:
    """A line, or why it is none."""
    sku = row["sku"].strip()
    try:
        quantity, price = int(row["qty"]), float(row["price"])
    except ValueError:
        return "with a number that is none"
    if not sku or len(sku) > LONGEST_SKU:
        return "without an article number that fits"
    if quantity <= 0:
        return "returned or written off"
    if quantity > MOST_QUANTITY or not math.isfinite(price):
        return "with a number that is none"
    if price < 0:
        return "an adjustment"
    # At no price it is a sample or a gift: that is shipped, too.
    return Line(sku=sku, name=names.get(sku.lower(), sku), quantity=quantity, price=price)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(HOME.zone))
