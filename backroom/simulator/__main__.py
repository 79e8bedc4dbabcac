"""Starts the simulator: `python -m backroom.simulator --port 8025 --smtp-port 8026 --home DIR`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import structlog

from backroom.domain.errors import Invalid
from backroom.simulator.server import Place, run


def main() -> int:
    """Read the arguments and serve; 2 where it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m backroom.simulator", description="The carriers on your machine.")
    parser.add_argument("--port", type=int, default=8025, help="HTTP port; 0 takes any free one (default %(default)s)")
    parser.add_argument("--smtp-port", type=int, default=8026, help="SMTP port; 0 takes any (default %(default)s)")
    parser.add_argument("--home", type=Path, required=True, help="folder that keeps the letters")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s, this machine)")
    parser.add_argument("--name", action="append", default=[], help="another host name that browsers may call it by")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    place = Place(
        home=asked.home,
        host=asked.host,
        port=asked.port,
        smtp_port=asked.smtp_port,
        names=frozenset([*asked.name, asked.host]),
    )
    try:
        run(place)
    except Invalid as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
