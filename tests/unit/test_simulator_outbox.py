"""The outbox page's small decisions."""

from backroom.simulator.letter import Outcome
from backroom.simulator.outbox import BAR, LEAST_SHARE, links, shares


def test_every_outcome_is_seen_in_the_bar_and_together_they_fill_it():
    found = shares({"delivered": 1_000_000, "failed": 1, "bounced": 0})

    assert [outcome for outcome, _, _ in found] == [Outcome.DELIVERED, Outcome.FAILED]
    assert all(width >= LEAST_SHARE for _, _, width in found)
    assert sum(width for _, _, width in found) == BAR
    assert shares({}) == []


def test_links_are_read_with_their_words_and_only_those_that_are_safe_to_show():
    document = """<a href="https://shop.example/?a=1&amp;b=2">Your <b>order</b></a> <a>no address</a>
        <a href="javascript:alert(1)">no</a> <a href="mailto:help@shop.example">Help</a> <a href="http://[x">broken"""

    assert links(document) == [
        ("Your order", "https://shop.example/?a=1&b=2"),
        ("Help", "mailto:help@shop.example"),
    ]
