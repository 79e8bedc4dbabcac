"""The engine room: opens connections, binds every job on the shelf to Dramatiq, and runs them until told to stop.

`dramatiq workers:boot` is the whole command; there is no global broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dramatiq import Broker


def boot() -> Broker:
    """The broker of this process, from the environment's settings, with every job bound to it."""
    from workers.room import open_room  # noqa: PLC0415 - importing the package must stay silent and light

    return open_room()
