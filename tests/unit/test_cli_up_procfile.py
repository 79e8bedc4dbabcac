"""How a Procfile is read."""

import sys
from pathlib import Path

import pytest

from backroom.cli import _procfile
from backroom.domain.errors import CannotStart


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "Procfile"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_procfile_is_read_in_its_order_without_comments(tmp_path):
    path = written(tmp_path, "# ours\n\nweb: python -m api_shim\nworker:  dramatiq workers:boot \n")

    assert list(_procfile.read(path).items()) == [
        ("web", "python -m api_shim"),
        ("worker", "dramatiq workers:boot"),
    ]


@pytest.mark.parametrize("text", ["web python", "web:", "web: a\nweb: b", "", "# nothing"])
def test_a_procfile_that_cannot_be_read_is_refused_with_what_would_be_right(tmp_path, text):
    with pytest.raises(CannotStart, match="To mend it: write one `name: command` a line"):
        _procfile.read(written(tmp_path, text))


def test_a_missing_procfile_is_said_with_its_path(tmp_path):
    with pytest.raises(CannotStart, match=r"there is no .*Procfile"):
        _procfile.read(tmp_path / "Procfile")


def test_a_variable_with_spaces_stays_one_word(tmp_path):
    program = tmp_path / "bin folder" / "run"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    environ = {"PATH": str(program.parent), "PORT": "8001", "BACKROOM_HOME": "/a folder"}

    words = _procfile.words("run --port=$PORT --home ${BACKROOM_HOME} 'two words' $NOTHING", environ)

    assert words == [str(program), "--port=8001", "--home", "/a folder", "two words", ""]


def test_a_command_that_needs_a_shell_is_refused():
    with pytest.raises(CannotStart, match="needs a shell"):
        _procfile.words("cat a | sort", {})


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CannotStart, match="there is no program 'gunicorn'"):
        _procfile.words("gunicorn app", {"PATH": str(tmp_path)})
