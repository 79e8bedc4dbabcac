"""Runs a simulator beside a test or a demo."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx

from backroom.simulator.server import ADDRESS_FILE

START = timedelta(seconds=20)
STOP = timedelta(seconds=10)
ANSWER = timedelta(seconds=10)
LOOK_AGAIN = timedelta(milliseconds=20)


class Simulator:
    """A simulator in a process of its own, as a context.

    ```python
    with Simulator() as simulator:
        send_something(simulator.url, simulator.smtp_port)
        (letter,) = simulator.letters(to="ada@example.com")
    ```

    Args:
        home: Where it keeps its letters; a folder that goes away with it if None.
        port: Its HTTP port; 0 takes any free one.
        smtp_port: Its SMTP port; 0 takes any free one.
    """

    def __init__(self, home: Path | None = None, *, port: int = 0, smtp_port: int = 0) -> None:
        self._asked = (port, smtp_port)
        self._home = home
        self._stack = contextlib.ExitStack()
        self.url = ""
        self.smtp_port = 0

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: It ended, or did not answer in time; with what it said.
        """
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it."""
        self._stack.close()

    def letters(self, **filters: str) -> list[dict[str, Any]]:
        """Every letter that fits, newest first.

        Args:
            **filters: Any of `delivery`, `to`, `medium`, `outcome`, `words`.
        """
        letters: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = self._ask("GET", "/api/letters", {"limit": "500", **filters, **after})
            letters += page["letters"]
            if not page["next"]:
                return letters
            after = {"after": page["next"]}

    def wait_for(
        self, enough: Callable[[list[dict[str, Any]]], bool] = bool, *, within: timedelta = ANSWER, **filters: str
    ) -> list[dict[str, Any]]:
        """The letters that fit, as soon as there are enough.

        Args:
            enough: Judges them; at least one if not given.
            within: How long to wait.
            **filters: As for `letters`.

        Raises:
            TimeoutError: There were not enough in time.
        """
        deadline = time.monotonic() + within.total_seconds()
        while not enough(letters := self.letters(**filters)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(letters)} letters after {within}")
            time.sleep(LOOK_AGAIN.total_seconds())
        return letters

    def summary(self) -> dict[str, Any]:
        """The counts."""
        return self._ask("GET", "/api/summary")

    def clear(self) -> None:
        """Forget every letter."""
        self._ask("DELETE", "/api/letters")

    def _start(self) -> None:
        home = self._home or Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="simulator-")))
        home.mkdir(parents=True, exist_ok=True)
        said = self._stack.enter_context((home / "simulator.log").open("w+"))
        port, smtp_port = (str(each) for each in self._asked)
        module = [sys.executable, "-m", "backroom.simulator"]
        process = subprocess.Popen(  # noqa: S603 - our own module, with our own arguments
            [*module, "--home", str(home), "--port", port, "--smtp-port", smtp_port],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        self._stack.callback(_stop, process)
        deadline = time.monotonic() + START.total_seconds()
        while not self._answers(home, process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                said.seek(0)
                raise RuntimeError(f"the simulator did not start: {said.read()[-2_000:]}")
            time.sleep(LOOK_AGAIN.total_seconds())

    def _answers(self, home: Path, pid: int) -> bool:
        try:
            address = json.loads((home / ADDRESS_FILE).read_text())
        except FileNotFoundError:
            return False
        # One that was killed leaves its address behind.
        if address["pid"] != pid:
            return False
        self.url, self.smtp_port = address["url"], address["smtp_port"]
        self._client = self._stack.enter_context(
            httpx.Client(base_url=self.url, timeout=ANSWER.total_seconds(), trust_env=False)
        )
        try:
            return self._client.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def _ask(self, method: str, path: str, params: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self._client.request(method, path, params=params)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP.total_seconds())
