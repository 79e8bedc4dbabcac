"""What a thread works on, and whether what it enqueues now follows from that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

from dramatiq.errors import BrokerConnectionError

from backroom.domain.errors import Permanent
from backroom.queue.decisions import Dead, Done

if TYPE_CHECKING:
    from dramatiq import Broker

    from backroom.queue.delivery import Delivery


class HandOnLost(Permanent):
    """The work is done, but what follows from it could not be enqueued; doing the work again would not help."""


class Finish:
    """A delivery whose work has ended and whose hooks run, as long as this is entered.

    Args:
        broker: Where it came from.
        delivery: What has ended.

    Attributes:
        lost: The first error of what a hook wanted to enqueue. Dramatiq only logs what its hooks raise.
    """

    __slots__ = ("_mark", "broker", "delivery", "lost")

    def __init__(self, broker: Broker, delivery: Delivery) -> None:
        self.broker = broker
        self.delivery = delivery
        self.lost: Exception | None = None

    def __enter__(self) -> Self:
        """What is enqueued from now on follows from the delivery."""
        self._mark = _finish.set(self)
        return self

    def __exit__(self, *_error: object) -> None:
        """It does no more."""
        _finish.reset(self._mark)

    def fail(self, *, succeeded: bool) -> None:
        """Have the delivery fail whose continuation was lost, unless it will run again anyway.

        Args:
            succeeded: Whether its work was a success.

        Raises:
            HandOnLost: It was, and Dramatiq is to take this for the job's own failure and ask the hooks again.
            BrokerConnectionError: The same where it may help to run it again.
        """
        if self.lost is None:
            return
        failure = _failure(self.lost)
        if succeeded:
            self.delivery.forget()
            raise failure from self.lost
        if self.delivery.otherwise is None or isinstance(self.delivery.otherwise, Done):
            self.delivery.fail()
            self.delivery.decide(Dead(reason=str(failure)))


def _failure(lost: Exception) -> Exception:
    if isinstance(lost, (BrokerConnectionError, HandOnLost)):
        return lost
    return HandOnLost(f"its work is done, but what follows could not be enqueued: {type(lost).__name__}: {lost}")


_working_on: ContextVar[Delivery | None] = ContextVar("working_on", default=None)
_finish: ContextVar[Finish | None] = ContextVar("finish", default=None)


def work_on(delivery: Delivery | None) -> None:
    """This thread begins with a delivery, or is through with the last one."""
    _working_on.set(delivery)


def is_worked_on(id: str) -> bool:
    """Whether this thread has a message in its hands."""
    delivery = _working_on.get()
    return delivery is not None and delivery.message_id == id


def worked_on() -> Delivery | None:
    """What this thread has in its hands, if anything."""
    return _working_on.get()


def current() -> Finish | None:
    """What ends in this thread, if anything."""
    return _finish.get()


@contextmanager
def noted() -> Iterator[None]:
    """Note an error of what follows, wherever it goes from here."""
    try:
        yield
    except Exception as error:
        finish = _finish.get()
        if finish is not None and finish.lost is None:
            finish.lost = error
        raise
