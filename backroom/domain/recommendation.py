"""What to show somebody, and why: items that go with what they did, and popular ones where nothing is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Kind = Literal["bought_together", "viewed_together", "popular"]

# Who buys something says more about what they like than who looks at it.
WEIGHTS: Mapping[str, float] = {"bought": 3.0, "viewed": 1.0}
# What somebody did that long ago counts half.
HALF_LIFE = timedelta(days=14)
# An item whose name has a word that was searched for.
SEARCHED = 1.5
MOST_OF_A_CATEGORY = 2
SHORTEST_WORD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """Something somebody did with an item: `viewed` or `bought`."""

    kind: str
    item: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two items that the same people viewed, or bought.

    Attributes:
        kind: `viewed` or `bought`.
        item: The one.
        other: The other.
        score: How much they go together, from 0 to 1.
    """

    kind: str
    item: str
    other: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An item that may be shown.

    Attributes:
        item: Its id.
        name: What it is called.
        category: What kind of thing it is; empty where that is not known.
        people: How many viewed or bought it lately.
    """

    item: str
    name: str
    category: str
    people: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """An item to show.

    Attributes:
        item: Its id.
        name: What it is called.
        kind: Why it is shown.
        because: The item it goes with; None for a popular one.
    """

    item: str
    name: str
    kind: Kind
    because: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known about somebody and about the shop.

    Attributes:
        done: What they did lately.
        pairs: What goes with it.
        offers: What may be shown, by id: the other halves of the pairs, and what is popular.
        searched: What they searched for lately.
        without: What must not be shown besides what they bought lately.
    """

    done: Sequence[Done]
    pairs: Sequence[Pair]
    offers: Mapping[str, Offer]
    searched: Sequence[str] = ()
    without: AbstractSet[str] = frozenset()


def recommend(facts: Facts, *, now: datetime, limit: int) -> list[Recommendation]:
    """Choose items for somebody, best first.

    Args:
        facts: About them and the shop.
        now: The time.
        limit: How many at most.

    Returns:
        What goes with what they did first, then what is popular. Of a known category at most two.
    """
    offers = facts.offers
    hidden = facts.without | {one.item for one in facts.done if one.kind == "bought"}
    words = _words(facts.searched)
    chosen: list[Recommendation] = []
    categories: Counter[str] = Counter()
    for found in (*_alike(facts, words, now=now), *_popular(offers, words)):
        category = offers[found.item].category
        if found.item in hidden or (category and categories[category] == MOST_OF_A_CATEGORY):
            continue
        if len(chosen) == limit:
            break
        chosen.append(found)
        categories[category] += 1
        hidden |= {found.item}
    return chosen


def _alike(facts: Facts, words: AbstractSet[str], *, now: datetime) -> Iterator[Recommendation]:
    offers = facts.offers
    liked: defaultdict[str, float] = defaultdict(float)
    for one in facts.done:
        age = max(now - one.at, timedelta(0))
        liked[one.item] += WEIGHTS.get(one.kind, 0.0) * 0.5 ** (age / HALF_LIFE)

    scores: defaultdict[str, float] = defaultdict(float)
    reasons: dict[str, tuple[float, str, str]] = {}
    # In an order of its own, so that equal facts give equal sums.
    for pair in sorted(facts.pairs, key=lambda one: (one.item, one.other, one.kind)):
        part = liked.get(pair.item, 0.0) * pair.score * WEIGHTS.get(pair.kind, 0.0)
        if part and pair.other in offers:
            scores[pair.other] += part * _boost(offers[pair.other], words)
            # The reason that is told is the one that counted most.
            reasons[pair.other] = max(reasons.get(pair.other, (0.0, "", "")), (part, pair.kind, pair.item))
    for item, _ in sorted(scores.items(), key=lambda one: (-one[1], one[0])):
        _, done, because = reasons[item]
        kind: Kind = "bought_together" if done == "bought" else "viewed_together"
        yield Recommendation(item=item, name=offers[item].name, kind=kind, because=because)


def _popular(offers: Mapping[str, Offer], words: AbstractSet[str]) -> Iterator[Recommendation]:
    known = [offer for offer in offers.values() if offer.people]
    for offer in sorted(known, key=lambda one: (-one.people * _boost(one, words), one.item)):
        yield Recommendation(item=offer.item, name=offer.name, kind="popular", because=None)


def _boost(offer: Offer, words: AbstractSet[str]) -> float:
    return SEARCHED if words & _words([offer.name]) else 1.0


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in text.casefold().split() if len(word) >= SHORTEST_WORD}
