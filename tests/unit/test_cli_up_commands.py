"""The commands of `backroom` are the files of its folder."""

import subprocess
import sys
from pathlib import Path

from backroom import cli


def test_every_file_brings_commands_of_its_name():
    files = [path.stem for path in Path(cli.__file__).parent.glob("[a-z]*.py")]
    assert {"up", "doctor"} <= set(files)

    for file in files:
        names = {command.name or command.callback.__name__ for command in cli.build([file]).registered_commands}
        names |= {group.name for group in cli.build([file]).registered_groups}
        assert {name.replace("_", "-").split("-")[0] for name in names} == {file.split("_")[0]}, file


def test_help_loads_nothing_heavy():
    script = "import sys; from backroom.cli import build; build(); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not {"sqlalchemy", "redis", "psycopg", "httpx", "falcon", "alembic", "dramatiq"} & set(loaded)
