"""There is no list to remember: what is put on a shelf is there, in every place that shows the shelves."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.house import TestHouse, free_port, until
from tests.scratch import environ_for, python_in, scratch_copy

CHANNEL = '''
"""Pigeons, for readers on islands."""

from typing import ClassVar

from pydantic import BaseModel, Field, SecretStr

from backroom.domain.letter import Letter, Receipt


class Conf(BaseModel):
    """A loft."""

    loft: str = Field(description="Where the pigeons live.")
    whistle: SecretStr = Field(default=SecretStr(""), description="What brings them back.")
    flock: int = Field(default=12, ge=1, le=99, description="How many may be out at once.")


class {kind}:
    name: ClassVar[str] = "{name}"
    medium: ClassVar[str] = "pigeon"
    contact: ClassVar[str] = "island"
    repeatable: ClassVar[bool] = False

    def __init__(self, conf: Conf) -> None:
        self.conf = conf

    def send(self, letter: Letter) -> Receipt:
        """Let one go."""
        return Receipt(provider_id=letter.delivery)
'''

JOB = '''
"""Remind a customer of a full cart."""

from __future__ import annotations

from backroom.domain.job import AppMessage, job
from backroom.tools import Tools


class RemindCart(AppMessage, frozen=True, kw_only=True):
    """Whose cart."""

    user: str


@job("cart.remind", every="*/5 * * * *")
def remind_cart(message: RemindCart, tools: Tools) -> None:
    """Remind a customer of a full cart."""
'''

RULE = '''
"""Warn when the till is open at night."""

from __future__ import annotations

from collections.abc import Iterator

from backroom.domain.rule import Finding, Sight, rule


@rule("till.open", every="0 22 * * *", severity="info")
def till_open(sight: Sight) -> Iterator[Finding]:
    """Warn when the till is open at night."""
    yield from ()
'''


def add_channel(shelf: Path, name: str) -> None:
    kind = "".join(part.title() for part in name.split("_"))
    (shelf / f"{name}.py").write_text(CHANNEL.format(name=name, kind=kind).lstrip())


def add_type(shelf: Path, name: str) -> None:
    folder = shelf / name
    folder.mkdir(parents=True)
    (folder / "type.toml").write_text(
        'about = "Tells an islander that the ferry is late."\ncategory = "transactional"\n'
        'channels = ["pigeon"]\nafter_crash = "report"\npublic = true\n'
    )
    (folder / "payload.schema.json").write_text(
        json.dumps({"type": "object", "properties": {"late": {"type": "integer"}}, "additionalProperties": False})
    )
    (folder / "example.json").write_text('{"late": 5}')
    (folder / "pigeon.jinja").write_text("{% block text %}Late by {{ late }} minutes.{% endblock %}\n")


def said(folder: Path, *arguments: str, **environ: str) -> str:
    done = python_in(folder, "-m", "backroom", *arguments, **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextlib.contextmanager
def open_door(folder: Path, house: TestHouse, **more: str) -> Iterator[httpx.Client]:
    """The front door of a copy, as a process of its own."""
    port = free_port()
    environ = {
        "PORT": str(port),
        "REDIS_URL": house.settings.redis_url,
        "DATABASE_URL": house.settings.database_url,
        "BACKROOM_SECRET": house.settings.backroom_secret.get_secret_value(),
        "KEY_PREFIX": house.settings.key_prefix,
    }
    process = subprocess.Popen([sys.executable, "-m", "api_shim"], cwd=folder, env=environ_for(folder, environ | more))
    try:
        client = house.client(f"http://127.0.0.1:{port}")

        def answers() -> bool:
            assert process.poll() is None, "the front door has ended"
            with contextlib.suppress(httpx.TransportError):
                return client.get("/healthz").status_code == 200
            return False

        until(answers, within=120, what="the front door answers")
        yield client
    finally:
        process.terminate()
        process.wait(20)


def test_a_channel_file_and_a_type_folder_appear_everywhere_and_nothing_else_is_touched(tmp_path, house):
    copy = scratch_copy(tmp_path / "copy")
    said(copy, "shelf", "--docs")
    before = tree(copy)

    add_channel(copy / "channels", "carrier_pigeon")
    add_type(copy / "templates", "ferry_late")

    shown = said(copy, "shelf")
    assert "carrier_pigeon" in shown
    assert "Pigeons, for readers on islands." in shown
    assert "needs CARRIER_PIGEON_LOFT" in shown
    assert "Tells an islander that the ferry is late." in shown

    stale = python_in(copy, "-m", "backroom", "shelf", "--check")
    assert stale.returncode == 1
    assert {line.split()[1].rstrip(";") for line in stale.stderr.splitlines()} == {
        "docs/reference/shelf.md",
        "docs/reference/settings.md",
        ".env.example",
    }
    said(copy, "shelf", "--docs")
    said(copy, "shelf", "--check")
    after = tree(copy)
    assert {name for name in after if after[name] != before.get(name)} == {
        "channels/carrier_pigeon.py",
        *(
            f"templates/ferry_late/{name}"
            for name in ("type.toml", "payload.schema.json", "example.json", "pigeon.jinja")
        ),
        "docs/reference/shelf.md",
        "docs/reference/settings.md",
        ".env.example",
    }
    assert (
        "| `carrier_pigeon` | pigeon | Pigeons, for readers on islands. |" in after["docs/reference/shelf.md"].decode()
    )
    assert "| `ferry_late` | transactional | pigeon | default |" in after["docs/reference/shelf.md"].decode()
    assert "| `CARRIER_PIGEON_FLOCK` | from 1 to 99 | `12` |" in after["docs/reference/settings.md"].decode()
    assert "# Where the pigeons live. Required.\n#CARRIER_PIGEON_LOFT=\n" in after[".env.example"].decode()

    with open_door(copy, house) as client:
        assert {"name": "carrier_pigeon", "medium": "pigeon", "about": "Pigeons, for readers on islands."} in (
            client.get("/v1/channels").json()["channels"]
        )
        assert "ferry_late" in [kind["name"] for kind in client.get("/v1/types").json()["types"]]


def test_an_application_brings_shelves_of_its_own_without_a_fork(tmp_path, house):
    own = tmp_path / "shop" / "backroom"
    for package in (own.parent, own, own / "jobs", own / "channels", own / "alerts"):
        package.mkdir()
        (package / "__init__.py").touch()
    (own / "jobs" / "cart_remind.py").write_text(JOB.lstrip())
    (own / "alerts" / "till_open.py").write_text(RULE.lstrip())
    add_channel(own / "channels", "island_pigeon")
    add_type(own / "templates", "ferry_later")
    environ = {"BACKROOM_SHELVES": "shop.backroom"}

    found = json.loads(said(tmp_path, "shelf", "--json", **environ))

    jobs = {row["name"]: row for row in found["jobs"]}
    assert jobs["cart.remind"]["about"] == "Remind a customer of a full cart."
    assert jobs["cart.remind"]["every"] == "*/5 * * * *"
    assert "notification.send" in jobs
    assert "till.open" in [row["name"] for row in found["rules"]]
    assert {row["name"]: row["state"] for row in found["channels"]}["island_pigeon"] == "off"
    assert "ferry_later" in [row["name"] for row in found["types"]]
    switched_on = json.loads(said(tmp_path, "shelf", "--json", ISLAND_PIGEON_LOFT="north", **environ))
    assert {row["name"]: row["state"] for row in switched_on["channels"]}["island_pigeon"] == "on"
    with open_door(tmp_path, house, **environ) as client:
        assert "island_pigeon" in [channel["name"] for channel in client.get("/v1/channels").json()["channels"]]
        assert "ferry_later" in [kind["name"] for kind in client.get("/v1/types").json()["types"]]


def test_two_of_one_name_are_told_and_not_mixed_up(tmp_path):
    own = tmp_path / "shop" / "jobs"
    own.mkdir(parents=True)
    (own.parent / "__init__.py").touch()
    (own / "__init__.py").touch()
    (own / "twice.py").write_text(JOB.lstrip().replace("cart.remind", "user.put"))

    done = python_in(tmp_path, "-m", "backroom", "shelf", BACKROOM_SHELVES="shop")

    assert done.returncode == 1
    assert "user.put" in done.stderr
    assert "twice" in done.stderr
    assert "Traceback" not in done.stderr
