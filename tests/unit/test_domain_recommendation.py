"""What to show somebody, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backroom.domain import recommendation
from backroom.domain.recommendation import Done, Facts, Offer, Pair, Recommendation

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def done(item: str, kind: str = "viewed", *, days_ago: float = 0) -> Done:
    return Done(kind=kind, item=item, at=NOW - timedelta(days=days_ago))


def pair(item: str, other: str, score: float = 0.5, kind: str = "viewed") -> Pair:
    return Pair(kind=kind, item=item, other=other, score=score)


def offers(*items: str, category: str = "", people: int = 0) -> dict[str, Offer]:
    return {item: Offer(item=item, name=f"the {item}", category=category, people=people) for item in items}


def recommend(*, limit: int, now: datetime, **facts) -> list[Recommendation]:
    return recommendation.recommend(Facts(**facts), limit=limit, now=now)


def shown(found: list[Recommendation]) -> list[str]:
    return [one.item for one in found]


def test_what_goes_with_what_was_viewed_is_shown_with_its_reason():
    found = recommend(done=[done("lamp")], pairs=[pair("lamp", "bulb")], offers=offers("bulb"), now=NOW, limit=5)

    assert found == [Recommendation(item="bulb", name="the bulb", kind="viewed_together", because="lamp")]


def test_what_was_bought_is_never_shown_again():
    found = recommend(
        done=[done("lamp"), done("bulb", "bought")],
        pairs=[pair("lamp", "bulb"), pair("lamp", "shade")],
        offers=offers("bulb", "shade", people=9),
        now=NOW,
        limit=5,
    )

    assert shown(found) == ["shade"]


def test_buying_says_more_than_viewing():
    found = recommend(
        done=[done("lamp"), done("sofa", "bought")],
        pairs=[pair("lamp", "bulb"), pair("sofa", "cushion", kind="bought")],
        offers=offers("bulb", "cushion"),
        now=NOW,
        limit=5,
    )

    assert [(one.item, one.kind) for one in found] == [("cushion", "bought_together"), ("bulb", "viewed_together")]


def test_lately_says_more_than_long_ago():
    found = recommend(
        done=[done("lamp", days_ago=60), done("sofa")],
        pairs=[pair("lamp", "bulb"), pair("sofa", "cushion")],
        offers=offers("bulb", "cushion"),
        now=NOW,
        limit=5,
    )

    assert shown(found) == ["cushion", "bulb"]


def test_the_reason_that_is_told_is_the_one_that_counted_most():
    (found,) = recommend(
        done=[done("lamp"), done("sofa")],
        pairs=[pair("lamp", "bulb", 0.2), pair("sofa", "bulb", 0.9)],
        offers=offers("bulb"),
        now=NOW,
        limit=1,
    )

    assert found.because == "sofa"


def test_at_most_two_of_a_category_and_a_category_that_nobody_knows_is_none():
    pairs = [pair("lamp", item, 0.9 - n / 10) for n, item in enumerate("abcde")]

    found = recommend(
        done=[done("lamp")],
        pairs=pairs,
        offers=offers("a", "b", "c", category="bulbs") | offers("d", "e", "f", people=1),
        now=NOW,
        limit=9,
    )

    assert shown(found) == ["a", "b", "d", "e", "f"]


def test_for_somebody_unknown_what_is_popular_is_shown():
    known = offers("a", people=3) | offers("b", people=9) | offers("c")

    found = recommend(done=[], pairs=[], offers=known, now=NOW, limit=5)

    assert [(one.item, one.kind, one.because) for one in found] == [("b", "popular", None), ("a", "popular", None)]


def test_what_was_searched_for_comes_first_among_equals():
    found = recommend(
        done=[], pairs=[], offers=offers("chair", "lamp", people=3), searched=["A red LAMP", "of"], now=NOW, limit=5
    )

    assert shown(found) == ["lamp", "chair"]


def test_what_is_not_to_be_shown_is_not_and_the_limit_holds():
    known = offers("a", "b", "c", "d", people=3)

    assert shown(recommend(done=[], pairs=[], offers=known, without={"a"}, now=NOW, limit=2)) == ["b", "c"]
    assert recommend(done=[], pairs=[], offers=known, now=NOW, limit=0) == []


def test_the_same_facts_give_the_same_answer_in_any_order():
    pairs = [pair("lamp", "a"), pair("lamp", "b"), pair("sofa", "a"), pair("sofa", "b")]
    facts = {"done": [done("lamp"), done("sofa")], "offers": offers("a", "b"), "now": NOW, "limit": 5}

    assert recommend(pairs=pairs, **facts) == recommend(pairs=pairs[::-1], **facts)
