"""`backroom demo` as a newcomer runs it: from nothing, again, and with a file of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.house import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PROJECT = Path(__file__).parents[2]
STATES = ("delivered", "sent", "refused", "failed", "unknown", "skipped", "open")
ORDERS = """invoice,sku,qty,at,price,customer,country
1001,85123A,6,2010-12-01 08:26:00,2.55,17850,United Kingdom
1001,71053,6,2010-12-01 08:26:00,3.39,17850,United Kingdom
C1002,71053,-1,2010-12-01 09:00:00,3.39,17850,United Kingdom
1003,85123A,2,2010-12-01 09:10:00,2.55,12662,Germany
1003,71053,2,2010-12-01 09:10:00,3.39,12662,Germany
1004,22752,1,2010-12-01 09:41:00,7.65,,France
1005,85123A,1,2010-12-01 10:02:00,2.55,12665,Austria
1005,22752,1,2010-12-01 10:02:00,7.65,12665,Austria
"""


class Home:
    """A home of its own, and the demos that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("BACKROOM_", "SMS_", "EMAIL_"))
        }
        self._environ = {**inherited, "BACKROOM_HOME": str(folder / "home"), "PORT": str(free_port())}

    def demo(self, *options: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "backroom", "demo", "--json", *options],
            cwd=PROJECT,
            env=self._environ,
            capture_output=True,
            timeout=300,
            check=False,
        )
        said = done.stderr.decode()
        assert done.stdout, said
        told: dict[str, Any] = json.loads(done.stdout)
        self.started = told["started"] or self.started
        assert done.returncode == 0, (told["parts"], told["notifications"], said)
        return told

    def demo_that_is_stopped(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Run one, press Ctrl-C once something was accepted."""
        process = subprocess.Popen(
            [sys.executable, "-m", "backroom", "demo", "--json", *options],
            cwd=PROJECT,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said = next((line for line in process.stderr if b" accepted, " in line and not line.startswith(b"0 ")), b"")
        process.send_signal(signal.SIGINT)
        told, rest = process.communicate(timeout=60)
        assert told, said + rest
        return process.returncode, json.loads(told)

    def close(self) -> None:
        if self.started and psutil.pid_exists(self.started):
            process = psutil.Process(self.started)
            process.terminate()
            process.wait(60)


@pytest.fixture
def home() -> Iterator[Home]:
    # Not in pytest's folder: as root, PostgreSQL's user could not reach it, and its data would stay elsewhere.
    folder = Path(tempfile.mkdtemp(prefix="backroom-test-"))
    folder.chmod(0o755)
    home = Home(folder)
    yield home
    home.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_shop_plays_and_everything_it_says_is_read_back(home: Home) -> None:
    told = home.demo("--limit", "40", "--users", "30", "--keep")

    # Every notification has an end, and every delivery is in one state.
    assert told["notifications"]["accepted"] == told["notifications"]["final"] == told["orders"] == 40
    assert told["notifications"]["stragglers"] == []
    assert told["turned_away"] == {}
    for channel in ("inbox", "email", "sms"):
        counts = told["channels"][channel]
        assert sum(counts[state] for state in STATES) == counts["all"] == 40, channel
    assert told["channels"]["inbox"]["delivered"] == 40
    assert told["channels"]["email"]["p50_seconds"] <= told["channels"]["email"]["p99_seconds"]

    # Every part has shown itself.
    shown = {part["name"]: part["shown"] for part in told["parts"]}
    assert all(shown.values()), told["parts"]
    assert set(shown) == {
        "Failed logins",
        "Memory alert",
        "Searches",
        "Time on pages",
        "Purchases",
        "Recommendations",
        "Digest",
        "Orders stored",
        "Sessions",
    }
    assert httpx.get(told["outbox"]).is_success

    # The same again: the same notifications, and not one letter more.
    again = home.demo("--limit", "40", "--users", "30")
    assert again["notifications"]["accepted_in_an_earlier_run"] == again["notifications"]["accepted"] == 40
    for channel in ("inbox", "email", "sms"):
        assert {**again["channels"][channel]} == told["channels"][channel]

    # A file of orders: what is no order is counted.
    orders = home.folder / "orders.csv"
    orders.write_text(ORDERS, encoding="utf-8")
    replayed = home.demo("--orders", str(orders))
    assert replayed["notifications"]["final"] == replayed["orders"] == 4
    assert replayed["left_out"]["invoices"] == {"cancellation": 1}
    assert replayed["channels"]["inbox"]["delivered"] == 4

    # By the file's own times the second order is due in an hour. Ctrl-C: what there is, is told.
    code, stopped = home.demo_that_is_stopped("--orders", str(orders), "--speed-up", "1", "--fresh")
    assert code == 130
    assert stopped["stopped"]
    assert stopped["notifications"]["accepted"] == stopped["orders"] == 1
    assert stopped["parts"] == []
