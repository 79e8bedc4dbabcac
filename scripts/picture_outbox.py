"""Takes the picture of the outbox that the README shows: `python scripts/picture_outbox.py [FILE.png] [--dark]`.

Starts a house of its own, has it write every notification type in English and German, a few of them to recipients
that fail, and photographs what the simulator got.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
from screenshot import screenshot

from backroom.embedded.note import free_port
from backroom.shelf import Shelves
from backroom.simulator.magic import EMAIL_BOUNCES, EMAIL_REFUSED, NUMBER_OPTED_OUT
from backroom.words import Words

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "outbox.png"
WITHIN_SECONDS = 90
LOOK_AGAIN_SECONDS = 0.2
SIZE = (1280, 800)
READERS = {
    "grace": ("Grace", "en-GB", "Europe/London", "grace@example.com", "+447400123456"),
    "johanna": ("Johanna", "de-AT", "Europe/Vienna", "johanna@example.at", "+4366012345678"),
    "bob": ("Bob", "en", "America/New_York", EMAIL_BOUNCES, NUMBER_OPTED_OUT),
    "uwe": ("Uwe", "de", "Europe/Berlin", EMAIL_REFUSED, "+4915112345678"),
}


def picture(path: Path, *, dark: bool) -> None:
    """Write the picture.

    Raises:
        TimeoutError: The house did not open, or its letters did not arrive.
        FileNotFoundError: There is no Chromium.
    """
    # Not closed to others: as root, PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="backroom-picture-") as folder:
        Path(folder).chmod(0o755)
        home, port = Path(folder) / "home", free_port(0)
        with _house(home, port) as key, _client(port, key) as client:
            _write_letters(client, home)
            _until(lambda: _settled(client), what="every letter has come to its end")
            address = json.loads((home / "simulator" / "address.json").read_text("utf-8"))
            screenshot(f"{address['url']}/outbox", path, size=SIZE, dark=dark)


@contextlib.contextmanager
def _house(home: Path, port: int) -> Iterator[str]:
    """A running house; gives its key."""
    environ = {**os.environ, "BACKROOM_HOME": str(home), "PORT": str(port)}
    said = home.with_suffix(".log")
    with said.open("wb") as log:
        command = [sys.executable, "-m", "backroom", "up"]
        house = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)  # noqa: S603 - our own module
    try:
        _until(lambda: "Ctrl-C stops everything" in said.read_text("utf-8"), what="the house opens")
        yield (home / "key").read_text("ascii").strip()
    except (TimeoutError, httpx.HTTPError, subprocess.SubprocessError):
        sys.stderr.write(said.read_text("utf-8"))
        raise
    finally:
        house.send_signal(signal.SIGINT)
        house.wait(WITHIN_SECONDS)


def _client(port: int, key: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=15, trust_env=False
    )


def _write_letters(client: httpx.Client, home: Path) -> None:
    for user, (name, locale, zone, email, phone) in READERS.items():
        profile = {"name": name, "locale": locale, "time_zone": zone, "contacts": {"email": email, "phone": phone}}
        client.put(f"/v1/users/{user}", json=profile, headers={"Prefer": "wait=10"}).raise_for_status()
    types = Words(Shelves().templates).types
    # The house's own types first: the newest letters stand on top, and orders are what a newcomer sends.
    for name, kind in sorted(types.items(), key=lambda item: (item[1].public, -len(item[1].mediums))):
        to = ["grace", "johanna"] if name != "order_shipped" else list(READERS)
        if kind.public:
            message = {"type": name, "to": to, "data": kind.example}
            client.post("/v1/notifications", json=message).raise_for_status()
        else:
            _ask_by_hand(home, {"type": name, "to": to, "data": kind.example})
        _until(lambda: _settled(client), what=f"{name} is written")


def _ask_by_hand(home: Path, message: dict[str, object]) -> None:
    """Only our own jobs may write these types, so ask the job."""
    asked = json.dumps({**message, "accepted_at": datetime.now(UTC).isoformat()})
    command = [sys.executable, "-m", "backroom", "jobs", "run", "notification.send", "--app", "shop", "--wait"]
    environ = {**os.environ, "BACKROOM_HOME": str(home)}
    subprocess.run(  # noqa: S603 - our own module
        [*command, "--message", asked],
        cwd=ROOT,
        env=environ,
        check=True,
        timeout=WITHIN_SECONDS,
        stdout=subprocess.DEVNULL,
    )


def _settled(client: httpx.Client) -> bool:
    found = client.get("/v1/notifications", params={"limit": 100}).raise_for_status().json()["notifications"]
    return bool(found) and all(one["state"] == "settled" for one in found)


def _until(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WITHIN_SECONDS} s: {what}")
        time.sleep(LOOK_AGAIN_SECONDS)


def main() -> None:
    """Read the arguments and take the picture."""
    parser = argparse.ArgumentParser(description="Take the picture of the outbox that the README shows.")
    parser.add_argument("path", type=Path, nargs="?", default=PICTURE, help="the PNG file to write")
    parser.add_argument("--dark", action="store_true", help="in dark colours")
    asked = parser.parse_args()
    asked.path.parent.mkdir(parents=True, exist_ok=True)
    picture(asked.path, dark=asked.dark)


if __name__ == "__main__":
    main()
