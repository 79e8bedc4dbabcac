"""The website's own inbox: rows that the application reads through our door."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from backroom.domain.letter import Letter, Receipt


class Conf(BaseModel):
    """Nothing to set: the inbox is always on."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def simulated(cls, *, url: str, smtp_port: int) -> Self:  # noqa: ARG003 - every carrier is asked alike
        """The inbox needs no simulator: it is real everywhere."""
        return cls()


class Inbox:
    """Keeps a letter as a row in the same transaction as its outcome."""

    name: ClassVar[str] = "inbox"
    medium: ClassVar[str] = "inbox"
    contact: ClassVar[str] = ""
    repeatable: ClassVar[bool] = True

    def __init__(self, conf: Conf) -> None:
        self.conf = conf

    def send(self, letter: Letter) -> Receipt:
        """Say what to keep. Nothing goes out, so nothing can fail."""
        kept = {part: letter.parts.get(part, "") for part in ("title", "body", "link")}
        return Receipt(provider_id=letter.delivery, delivered=True, keep=kept)
