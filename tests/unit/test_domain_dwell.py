"""How long people stay on a page."""

from __future__ import annotations

from backroom.domain.dwell import Dwell, dwell


def test_the_mean_is_over_the_views_whose_time_is_known():
    assert dwell(seconds=90, timed=3, views=4) == Dwell(mean_seconds=30.0, coverage=0.75)


def test_unknown_is_none_and_never_zero():
    assert dwell(seconds=0, timed=0, views=4) == Dwell(mean_seconds=None, coverage=0.0)
    assert dwell(seconds=0, timed=2, views=4) == Dwell(mean_seconds=0.0, coverage=0.5)
    assert dwell(seconds=0, timed=0, views=0) == Dwell(mean_seconds=None, coverage=0.0)
