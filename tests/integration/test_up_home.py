"""The home of a `backroom up`: one at a time, and other trouble is not mistaken for a second one."""

import pytest

from backroom.cli import _household
from backroom.domain.errors import CannotStart


def test_a_home_is_held_by_one_at_a_time(tmp_path):
    with _household.locked(tmp_path):
        assert _household.is_locked(tmp_path)
        with pytest.raises(CannotStart, match="in use by another"), _household.locked(tmp_path):
            pass

    assert not _household.is_locked(tmp_path)


def test_trouble_while_the_home_is_held_keeps_its_name(tmp_path):
    with pytest.raises(BlockingIOError, match="a pipe is full"), _household.locked(tmp_path):
        raise BlockingIOError("a pipe is full")
