"""Die at a named place, so that somebody can see that nothing is lost by it: `BACKROOM_QUEUE_FAULT=after_fetch:3`.

A process that was started with this variable is killed with SIGKILL the third time that it comes to `after_fetch`:
nothing is closed, flushed or handed back. Without the variable a point costs one look at a boolean.

The queue's own points, in the order in which a message meets them:

| point | where the process dies |
|---|---|
| `before_send` | posts were gathered; the engine has not been asked |
| `mid_send` | the engine was asked to enqueue; its reply was not read |
| `after_send` | it has enqueued; whoever sent has not been told |
| `mid_fetch` | the engine was asked to promote, reap and claim; its reply was not read |
| `after_fetch` | the reply was read; no thread has got anything |
| `before_job` | a thread is about to begin |
| `after_job` | the job has ended, with all its effects; nothing has been said about it |
| `before_settle` | outcomes were gathered; the engine has not been asked |
| `mid_settle` | the engine was asked to settle; its reply was not read |
| `after_settle` | it has settled; this process does not know |

Every script has such a `mid_…`: `mid_beat`, `mid_adopt`, `mid_begin`, `mid_leave`. Scripts are atomic, so nobody can
die within one; but who has asked for one cannot know whether it ran. A job may have points of its own:
`point("charge.after_payment")`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.commands.core import Script

_name, _, _nth = os.environ.get("BACKROOM_QUEUE_FAULT", "").partition(":")
armed = bool(_name)
_left = int(_nth or 1)
_lock = Lock()


def point(name: str) -> None:
    """Die here, if this is the place and the time for it."""
    if armed and _strikes(name):
        _die(name)


def unheard(name: str, script: Script, keys: Sequence[str], args: Sequence[Any]) -> None:
    """Ask for a script and die before its reply, if this is the place and the time for it."""
    if _strikes(name):
        pool: Any = script.registered_client.connection_pool  # type: ignore[union-attr]  # a cluster has none
        pool.get_connection().send_command("EVAL", script.script, len(keys), *keys, *args)
        _die(name)


def _strikes(name: str) -> bool:
    global _left  # noqa: PLW0603 - one process dies once
    if name != _name:
        return False
    with _lock:
        _left -= 1
        return _left == 0


def _die(name: str) -> None:
    # No logger: what it buffers would be lost with us.
    os.write(sys.stderr.fileno(), f"killed at fault point {name}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
