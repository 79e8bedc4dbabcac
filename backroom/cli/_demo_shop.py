"""Makes up a shop: what it sells, who comes, what they look for, look at and buy. The same seed is the same shop."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backroom.cli._demo_orders import Line, Order

# What belongs together: whoever likes one thing of a category likes the others.
CATEGORIES = {
    "Kitchen": ("Teapot", "Mixing bowl", "Cake stand", "Egg cup", "Bread bin", "Milk jug"),
    "Garden": ("Watering can", "Bird table", "Herb pot", "Lantern", "Trowel", "Wind chime"),
    "Writing": ("Fountain pen", "Notebook", "Ink bottle", "Letter set", "Desk lamp", "Wax seal"),
    "Toys": ("Spinning top", "Wooden train", "Kite", "Doll house", "Puzzle", "Marble run"),
    "Bedroom": ("Quilt", "Night light", "Pillow case", "Alarm clock", "Hot-water bottle", "Wool rug"),
    "Party": ("Paper garland", "Candle set", "Balloon pack", "Cocktail glass", "Ice bucket", "Gift box"),
}
STYLES = ("red", "cream", "vintage", "tin", "painted")
COUNTRIES = {"United Kingdom": 40, "Germany": 12, "France": 10, "Austria": 8, "EIRE": 6, "Netherlands": 6}
COUNTRIES |= {"Spain": 5, "Switzerland": 4, "USA": 4, "Sweden": 3, "Japan": 2}
# Of ten visits so many end with an order.
ORDERS_IN_TEN = 5
FAVOURED = 0.85
GUESTS_IN_HUNDRED = 3


@dataclass(frozen=True, slots=True)
class Product:
    """Something to buy."""

    sku: str
    name: str
    category: str
    price: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A page that a visitor looked at: how long, what was typed to get there, and what it shows."""

    path: str
    lasted: timedelta
    searched: str = ""
    results: int = 0
    product: Product | None = None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One visit to the website.

    Attributes:
        id: Which one; the same with the same seed.
        user: Who came.
        at: When.
        looks: What they looked at, in order.
        order: What they bought in the end, if anything.
    """

    id: str
    user: str
    at: datetime
    looks: Sequence[Look]
    order: Order | None = None


@dataclass
class Shop:
    """A shop that is made up.

    Args:
        seed: Decides about everything.
        users: How many customers it has.
        orders: How many orders they place.
        day: Midnight at the start of the day that is played.
    """

    seed: int
    users: int
    orders: int
    day: datetime
    products: list[Product] = field(init=False)

    def __post_init__(self) -> None:
        # Another number of orders gives other orders, and these have numbers of their own.
        told = f"{self.seed} {self.users} {self.orders} {self.day:%Y-%m-%d}"
        self._mark = f"{self.day:%y%m%d}-{hashlib.sha256(told.encode()).hexdigest()[:4]}"
        self._dice = random.Random(f"shop {self.seed}")  # noqa: S311 - a game, and the same one each time
        self.products = [
            Product(
                sku=f"{category[:2].upper()}{number:03d}",
                name=f"{style.capitalize()} {thing.lower()}",
                category=category,
                price=self._dice.choice((0.85, 1.25, 2.1, 2.95, 4.25, 6.75, 9.95, 14.95)),
            )
            for category, things in CATEGORIES.items()
            for number, (thing, style) in enumerate(((thing, style) for thing in things for style in STYLES), start=1)
        ]
        self._shelves = {name: [one for one in self.products if one.category == name] for name in CATEGORIES}
        for shelf in self._shelves.values():
            # Which ones are popular is up to the shop, not to the alphabet.
            self._dice.shuffle(shelf)
        self._tastes = [self._dice.sample(tuple(CATEGORIES), 2) for _ in range(self.users)]
        self._countries = self._dice.choices(tuple(COUNTRIES), weights=tuple(COUNTRIES.values()), k=self.users)

    def visits(self) -> Iterator[Visit]:
        """Visits in the order of their times, until all orders are placed."""
        placed = number = 0
        expected = max(1, self.orders * 10 // ORDERS_IN_TEN)
        while placed < self.orders:
            number += 1
            at = self.day + timedelta(hours=24) * min(number / (expected * 1.1), 0.999)
            visit = self._visit(number, at, ordered=placed + 1)
            placed += visit.order is not None
            yield visit

    def _visit(self, number: int, at: datetime, *, ordered: int) -> Visit:
        dice = self._dice
        # Some come every other day, most seldom.
        who = min(int(self.users * dice.random() ** 2), self.users - 1)
        seen = self._some(self._tastes[who], count=dice.randint(2, 5))
        looks = [Look(path="/", lasted=_seconds(dice, 8)), *self._searches(seen[0])]
        looks += [
            Look(path=f"/products/{product.sku.lower()}", lasted=_seconds(dice, 35), product=product)
            for product in seen
        ]
        order = None
        if dice.randrange(10) < ORDERS_IN_TEN:
            looks += [Look(path="/basket", lasted=_seconds(dice, 15)), Look(path="/thanks", lasted=_seconds(dice, 5))]
            guest = dice.randrange(100) < GUESTS_IN_HUNDRED
            order = Order(
                number=f"{self._mark}-{ordered:05d}",
                customer="" if guest else f"{self.seed}-{who + 1:04d}",
                country=self._countries[who],
                at=at + sum((look.lasted for look in looks), timedelta()),
                lines=tuple(self._lines(seen)),
            )
        return Visit(
            id=f"{self._mark}-{number}",
            user=order.user if order else f"customer-{self.seed}-{who + 1:04d}",
            at=at,
            looks=looks,
            order=order,
        )

    def _some(self, tastes: Sequence[str], *, count: int) -> list[Product]:
        """Different products, mostly of the categories that somebody likes, the popular ones more often."""
        found: dict[str, Product] = {}
        for _ in range(count * 3):
            shelf = self._shelves[self._dice.choice(tastes if self._dice.random() < FAVOURED else tuple(CATEGORIES))]
            product = self._dice.choices(shelf, weights=[1 / rank for rank in range(1, len(shelf) + 1)])[0]
            found[product.sku] = product
            if len(found) == count:
                break
        return list(found.values())

    def _searches(self, wanted: Product) -> Iterator[Look]:
        """What is typed before the first product is found; now and then something that the shop does not have."""
        if self._dice.random() < 0.1:  # noqa: PLR2004 - one in ten
            yield Look(
                path="/search", lasted=_seconds(self._dice, 6), searched=self._dice.choice(("hammock", "umbrella"))
            )
        if self._dice.random() < 0.7:  # noqa: PLR2004 - the others go by the menu
            words = self._dice.choice((wanted.name.partition(" ")[2], wanted.name, wanted.category)).lower()
            hits = sum(words in f"{one.name} {one.category}".lower() for one in self.products)
            yield Look(path="/search", lasted=_seconds(self._dice, 12), searched=words, results=hits)
        else:
            yield Look(path=f"/{wanted.category.lower()}", lasted=_seconds(self._dice, 18))

    def _lines(self, seen: Sequence[Product]) -> Iterator[Line]:
        for product in self._dice.sample(seen, k=max(1, len(seen) - self._dice.randint(0, 2))):
            yield Line(
                sku=product.sku,
                name=product.name,
                quantity=self._dice.choice((1, 1, 1, 2, 2, 6)),
                price=product.price,
                category=product.category,
            )


def _seconds(dice: random.Random, mean: float) -> timedelta:
    return timedelta(milliseconds=round(1_000 * min(max(dice.expovariate(1 / mean), 1), 600)))
