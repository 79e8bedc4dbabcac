"""Takes a picture of a page: `python scripts/screenshot.py URL FILE.png [--size 1280x800] [--dark] [--full]`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

LOAD_MS = 15_000
SETTLE_MS = 5_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# Nothing but the page is fetched: a browser's own errands have no place in a build.
FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def browser() -> str | None:
    """Where a Chromium is installed, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def screenshot(
    url: str, path: Path, *, size: tuple[int, int] = (1280, 800), dark: bool = False, full: bool = False
) -> None:
    """Write a picture of a page.

    Args:
        url: The page.
        path: The PNG file.
        size: Width and height of the window.
        dark: Ask the page for its dark colours.
        full: The whole page rather than what fits into the window.

    Raises:
        FileNotFoundError: There is no Chromium on PATH.
        Error: The page did not load.
    """
    executable = browser()
    if executable is None:
        raise FileNotFoundError(
            f"no Chromium on PATH (looked for {', '.join(BROWSERS)}); on Debian: apt-get install chromium"
        )
    # Chromium's sandbox refuses to run as root.
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        try:
            page = chromium.new_page(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if dark else "light",
                locale="en-GB",
                timezone_id="UTC",
            )
            page.goto(url, timeout=LOAD_MS)
            page.wait_for_load_state("load", timeout=SETTLE_MS)
            page.screenshot(path=path, full_page=full)
        finally:
            chromium.close()


def main() -> int:
    """Read the arguments and take the picture; 1 where that fails."""
    parser = argparse.ArgumentParser(description="Take a picture of a page with a headless Chromium.")
    parser.add_argument("url")
    parser.add_argument("path", type=Path, help="the PNG file to write")
    parser.add_argument("--size", type=_size, default=(1280, 800), help="WIDTHxHEIGHT of the window (1280x800)")
    parser.add_argument("--dark", action="store_true", help="ask the page for its dark colours")
    parser.add_argument("--full", action="store_true", help="the whole page rather than one window of it")
    asked = parser.parse_args()
    try:
        screenshot(asked.url, asked.path, size=asked.size, dark=asked.dark, full=asked.full)
    except (FileNotFoundError, Error) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not found:
        raise argparse.ArgumentTypeError("WIDTHxHEIGHT, such as 1280x800")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    sys.exit(main())
