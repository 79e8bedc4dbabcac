"""What goes out and what comes back: a letter for one reader over one medium, and the carrier's receipt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One rendered message for one reader.

    Attributes:
        delivery: Id of the delivery row, and the letter's identity at the carrier.
        app: Id of the application that sends.
        user: Id of the reader in that application.
        type: The notification's type, such as `order_shipped`.
        to: Where the medium finds the reader: an address, a number in E.164, or the user's id for the inbox.
        locale: The locale it was written in, as a BCP 47 tag such as `de-AT`.
        parts: The rendered parts by name. An email has `subject`, `text` and `html`; an SMS has `text`; an
            inbox item has `title`, `body` and perhaps `link`.
        attempt: Which try this is; 1 is the first.
    """

    delivery: str
    app: str
    user: str
    type: str
    to: str
    locale: str
    parts: dict[str, str]
    attempt: int = 1

    def __repr__(self) -> str:
        """Neither the address nor the words: a letter's repr may end up in a log."""
        return f"Letter(delivery={self.delivery!r}, type={self.type!r}, attempt={self.attempt})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """The carrier took the letter.

    Attributes:
        provider_id: The carrier's own id for it, for support and for callbacks.
        delivered: Whether it has reached the reader, rather than only the carrier.
        keep: For a medium that is our own store: what to write in the same transaction as the outcome.
    """

    provider_id: str
    delivered: bool = False
    keep: dict[str, Any] = field(default_factory=dict)


class Channel(Protocol):
    """A carrier, one file on the channels shelf. Its module also holds `Conf`, the settings it needs.

    Attributes:
        name: The file's name.
        medium: What kind of letter it carries: `email`, `sms`, `inbox`. Templates are written per medium.
        contact: Which of a user's contact points it writes to, or an empty string for the user itself.
        repeatable: Whether handing over the same delivery twice shows it to the reader once.
    """

    name: ClassVar[str]
    medium: ClassVar[str]
    contact: ClassVar[str]
    repeatable: ClassVar[bool]

    def send(self, letter: Letter) -> Receipt:
        """Hand the letter over.

        Raises:
            Rejected: The carrier will never take it.
            Unreachable: Not this time; perhaps after a given time, perhaps it went out all the same.
            Misconfigured: The carrier refuses us, not the letter.
        """
        ...
