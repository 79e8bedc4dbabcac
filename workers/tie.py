"""Ties this process to the one that started it: an orphan would go on taking messages beside its successor."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int | None, *, by: signal.Signals = signal.SIGTERM) -> None:
    """Be sent a signal when the parent has ended; end now if it has already.

    Linux only: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html

    Args:
        parent: Its process id, as it was told to us; None where whoever started us may be anybody.
        by: The signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        # It was gone before we asked to be told. Nothing is open yet, and Dramatiq would wait for it on the way out.
        os._exit(1)
