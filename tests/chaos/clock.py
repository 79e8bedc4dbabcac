"""A clock that somebody else may set: this process then believes in another time than the engines do."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_OFFSET = struct.Struct("d")


def set_offset(path: Path, seconds: float) -> None:
    """Step the clock of whoever has installed this file; it need not run yet."""
    if not path.exists():
        path.write_bytes(_OFFSET.pack(0.0))
    with path.open("r+b") as file:
        file.write(_OFFSET.pack(seconds))


def install(path: Path) -> None:
    """From now on `time.time` is wrong by what the file says. `time.monotonic` is not: no step of a clock moves it."""
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    really, really_ns = time.time, time.time_ns
    time.time = lambda: really() + _OFFSET.unpack_from(offset)[0]
    time.time_ns = lambda: really_ns() + int(_OFFSET.unpack_from(offset)[0] * 1e9)
