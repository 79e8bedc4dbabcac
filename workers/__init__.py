"""The engine room: opens connections, binds every job on the shelf to Dramatiq, and runs them until told to stop.

`python -m workers` is the whole command; `dramatiq workers:boot` does the same work under Dramatiq's own supervisor.
Nothing of ours asks for a global broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dramatiq import Broker


def boot() -> Broker:
    """The broker of this process, from the environment's settings, with every job bound to it."""
    # Importing the package must stay silent and light.
    from dramatiq import set_broker  # noqa: PLC0415

    from workers.room import open_room  # noqa: PLC0415

    broker = open_room()
    # Dramatiq's command calls us, forgets what we return, and asks for the global one.
    set_broker(broker)
    return broker
