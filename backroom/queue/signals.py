"""Dramatiq's signals, sent to those who listen only: most middleware ignores most of some thirty signals a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dramatiq import Broker
from dramatiq.middleware import Middleware, MiddlewareError

Hook = Callable[..., object]


class SparseSignals(Broker):
    """A broker that remembers which middleware has something to do at a signal. Otherwise like Dramatiq's own."""

    _count: int
    _hooks: dict[str, list[tuple[Hook, Middleware]]]

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Tell those who listen; a `MiddlewareError` of one stops the rest, and whatever was to follow."""
        for hook, middleware in self._listening(f"before_{signal}"):
            try:
                hook(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:  # noqa: BLE001 - as Dramatiq does: a broken middleware stops nobody else
                self._failed(f"before_{signal}", middleware)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Tell those who listen, the last one first."""
        for hook, middleware in self._listening(f"after_{signal}"):
            try:
                hook(self, *args, **kwargs)
            except Exception:  # noqa: BLE001 - the same
                self._failed(f"after_{signal}", middleware)

    def _failed(self, name: str, middleware: Middleware) -> None:
        self.logger.critical("Unexpected failure in %s of %r.", name, middleware, exc_info=True)  # noqa: LOG014 - called in one

    def _listening(self, name: str) -> list[tuple[Hook, Middleware]]:
        # Middleware comes, and may go; that one takes the place of another unseen, nobody does.
        if self.__dict__.get("_count") != len(self.middleware):
            # The hooks first: a thread that sees the new count must not find the old ones.
            self._hooks = {}
            self._count = len(self.middleware)
        found = self._hooks.get(name)
        if found is None:
            order = self.middleware if name.startswith("before_") else reversed(self.middleware)
            found = self._hooks[name] = [(getattr(one, name), one) for one in order if _listens(one, name)]
        return found


def _listens(middleware: Middleware, name: str) -> bool:
    ignored = getattr(Middleware, name, None)
    return name in vars(middleware) or getattr(type(middleware), name, None) is not ignored
