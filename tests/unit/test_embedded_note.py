"""What a home remembers of its engines."""

import socket
import stat

import pytest

from backroom.domain.errors import CannotStart
from backroom.embedded import note as notes
from backroom.embedded.note import Note


def test_a_note_with_passwords_is_for_our_eyes_only(tmp_path):
    note = Note(port=20_000, password="p", admin_password="a")

    notes.write(tmp_path / "engine.json", note)

    assert notes.read(tmp_path / "engine.json") == note
    assert stat.S_IMODE((tmp_path / "engine.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


def test_a_damaged_note_is_said_and_not_written_over(tmp_path):
    (tmp_path / "engine.json").write_text('{"port": 1', encoding="utf-8")

    with pytest.raises(CannotStart, match="is damaged") as refusal:
        notes.read(tmp_path / "engine.json")

    assert "restore it" in refusal.value.mend


def test_a_home_without_a_note_has_none(tmp_path):
    assert notes.read(tmp_path / "engine.json") is None


def test_a_remembered_port_is_used_again_unless_somebody_took_it():
    free = notes.free_port()
    assert notes.free_port(free) == free

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", free))
        stranger.listen()

        assert notes.free_port(free) != free
