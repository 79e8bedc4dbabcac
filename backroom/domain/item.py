"""What an event says about the things that are viewed and bought, with its numbers checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from backroom.domain.event import Event

MOST_ITEMS = 500
MOST_ID_CHARS = 200
MOST_TEXT_CHARS = 200
MOST_URL_CHARS = 300
MOST_QUANTITY = 1_000_000
MOST_PRICE = Decimal(1_000_000_000)
MOST_AMOUNT = Decimal(1_000_000_000_000)

_CENT = Decimal("0.01")
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_DONE: Mapping[str, Literal["viewed", "bought"]] = {"product viewed": "viewed", "order completed": "bought"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A thing as an event describes it; what the event does not say is empty.

    Attributes:
        id: The shop's own id of it.
        name: What it is called.
        category: What kind of thing it is.
        price: Of one, where it is said.
        currency: ISO 4217.
        url: Its page.
    """

    id: str
    name: str
    category: str
    price: Decimal | None
    currency: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Touch:
    """Somebody viewed or bought a thing.

    Attributes:
        kind: Which of the two.
        item: Its id.
        quantity: How many.
        amount: What was paid for all of them.
    """

    kind: Literal["viewed", "bought"]
    item: str
    quantity: int
    amount: Decimal


def items_of(event: Event) -> list[Item]:
    """The things that an event describes, each once."""
    found: dict[str, Item] = {}
    for product in _products(event):
        if id := _text(product.get("product_id") or product.get("sku"), MOST_ID_CHARS):
            found.setdefault(id, _item(id, product, event.properties))
    return list(found.values())


def touches_of(event: Event) -> list[Touch]:
    """What an event says that somebody viewed or bought; several lines about one thing are one."""
    kind = _DONE.get(event.name.lower()) if event.kind == "track" else None
    if kind is None:
        return []
    found: dict[str, Touch] = {}
    for product in _products(event):
        id = _text(product.get("product_id") or product.get("sku"), MOST_ID_CHARS)
        if not id:
            continue
        quantity = _quantity(product.get("quantity"))
        amount = (_price(product.get("price")) or Decimal(0)) * quantity if kind == "bought" else Decimal(0)
        before = found.get(id)
        found[id] = Touch(
            kind=kind,
            item=id,
            quantity=min(quantity + (before.quantity if before else 0), MOST_QUANTITY),
            amount=min(amount + (before.amount if before else 0), MOST_AMOUNT),
        )
    return list(found.values())


def _products(event: Event) -> Iterator[Mapping[str, Any]]:
    """An order has a list of them; a view is about one."""
    if event.kind != "track" or not event.name.lower().startswith(("product ", "order ")):
        return
    listed = event.properties.get("products")
    if isinstance(listed, list):
        yield from (product for product in listed[:MOST_ITEMS] if isinstance(product, Mapping))
    else:
        yield event.properties


def _item(id: str, product: Mapping[str, Any], properties: Mapping[str, Any]) -> Item:
    url = _text(product.get("url"), MOST_URL_CHARS + 1)
    currency = _text(product.get("currency") or properties.get("currency"), MOST_TEXT_CHARS).upper()
    return Item(
        id=id,
        name=_text(product.get("name"), MOST_TEXT_CHARS),
        category=_text(product.get("category"), MOST_TEXT_CHARS),
        price=_price(product.get("price")),
        currency=currency if _CURRENCY.fullmatch(currency) else "",
        url=url if len(url) <= MOST_URL_CHARS and _URL.fullmatch(url) else "",
    )


def _text(value: object, longest: int) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()[:longest].strip()


def _price(value: object) -> Decimal | None:
    number = _number(value)
    return None if number is None or not 0 <= number <= MOST_PRICE else number.quantize(_CENT)


def _quantity(value: object) -> int:
    number = _number(value)
    return 1 if number is None or not 1 <= number <= MOST_QUANTITY else int(number)


def _number(value: object) -> Decimal | None:
    """A number, also where a shop sends it as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    text = str(value).strip()
    return Decimal(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text) else None
