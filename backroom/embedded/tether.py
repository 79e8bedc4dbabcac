"""Start a program that ends when we end, whatever ended us.

Run as a script, this file ties itself to its parent, steps down to another user where it should, notes its process id
and then *becomes* the program, so that nothing stands between the two. It sees the standard library only: it runs
with `python -I -S`, which starts in milliseconds and needs neither our package nor its environment.

The tie is Linux's parent-death signal. It hangs on the *thread* that started the program, so start programs from a
thread that lives as long as they should. Where the kernel knows no such signal the program stays behind when we are
killed, and the next start finds it by its noted process id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
AVAILABLE = sys.platform == "linux"


@dataclass(frozen=True)
class Account:
    """A user of this machine that a program runs as."""

    name: str
    uid: int
    gid: int


def tethered(
    command: Sequence[str],
    *,
    on_death: signal.Signals | None,
    pid_file: Path | None = None,
    account: Account | None = None,
) -> list[str]:
    """The command line that runs `command` tied to this process.

    Args:
        command: The program with its full path, then its arguments.
        on_death: What it is sent when this process has ended; None leaves it untied.
        pid_file: Where its process id is noted before it starts.
        account: Who it runs as; only root may say so.
    """
    return [
        *(sys.executable, "-I", "-S", str(Path(__file__).resolve())),
        *(str(os.getpid()), str(int(on_death or 0)), str(pid_file or "")),
        f"{account.uid}:{account.gid}" if account else "",
        *command,
    ]


def main(argv: Sequence[str]) -> None:
    """Become the program named by `argv`, as `tethered` wrote it."""
    parent, on_death, pid_file, account, *command = argv
    if pid_file:
        _note(pid_file)
    if account:
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user: that clears the signal.
    if AVAILABLE and int(on_death):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(on_death), 0, 0, 0)
        # The parent may have ended before the signal was set.
        if os.getppid() != int(parent):
            sys.exit(f"{command[0]}: whoever started this has ended")
    os.execv(command[0], command)  # noqa: S606 - to become the program without a shell is what this file is for


def _note(pid_file: str) -> None:
    fresh = Path(f"{pid_file}.new")
    fresh.write_text(f"{os.getpid()}\n", encoding="ascii")
    fresh.replace(pid_file)


if __name__ == "__main__":
    main(sys.argv[1:])
