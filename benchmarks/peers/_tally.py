"""Counts the jobs that ran, in a file for each process that anybody may read meanwhile."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path


class Tally:
    """What the jobs of this process have seen. The same few instructions for every peer, in forked children too."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._ran = 0
        ran = os.open(self._folder / f"{os.getpid()}.ran", os.O_CREAT | os.O_RDWR)
        os.ftruncate(ran, 8)
        self._cell = memoryview(mmap.mmap(ran, 8)).cast("q")
        os.close(ran)
        self._waited = os.open(self._folder / f"{os.getpid()}.waited", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def count(self, jobs: int = 1) -> None:
        """So many jobs have run."""
        with self._lock:
            self._ran += jobs
            self._cell[0] = self._ran

    def waited(self, sent: int) -> None:
        """A job begins that was sent then, by the machine's one monotonic clock."""
        os.write(self._waited, struct.pack("=d", (time.monotonic_ns() - sent) / 1_000_000))
