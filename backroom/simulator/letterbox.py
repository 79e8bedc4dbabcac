"""Keeps every letter in a file: the newest can be found and read again, the older ones are only counted."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import msgspec

from backroom.domain.errors import Invalid
from backroom.simulator.letter import Letter, Outcome, trimmed

KEPT = 50_000
DELIVERIES_KNOWN = 200_000
FILE_LIMIT = 268_435_456
PAGE_LIMIT = 500
PAGE_BYTES = 16_777_216
SNIPPET = 160

_encoder = msgspec.json.Encoder()


class Tally(msgspec.Struct, kw_only=True):
    """Counts over every letter since the box was last cleared, also over those no longer kept.

    Attributes:
        letters: How many came.
        accepted: How many of them the carrier took.
        medium: How many came per medium.
        carrier: How many came per carrier.
        outcome: How many came per outcome.
        deliveries: Deliveries that were accepted at least once for a recipient.
        doubles: Deliveries that were accepted more than once for the same recipient.
    """

    letters: int = 0
    accepted: int = 0
    medium: dict[str, int] = msgspec.field(default_factory=dict)
    carrier: dict[str, int] = msgspec.field(default_factory=dict)
    outcome: dict[str, int] = msgspec.field(default_factory=dict)
    deliveries: int = 0
    doubles: int = 0

    def count(self, letter: Letter) -> None:
        """Count one letter."""
        self.letters += 1
        self.accepted += letter.accepted
        for counts, name in (
            (self.medium, letter.medium),
            (self.carrier, letter.carrier),
            (self.outcome, letter.outcome.value),
        ):
            counts[name] = counts.get(name, 0) + 1


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the file: a letter, or on the first line the counts of what stood in earlier files."""

    letter: Letter | None = None
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is held in memory of a letter: enough to list it, and where the rest stands."""

    id: str
    number: int
    medium: str
    carrier: str
    provider_id: str
    at: str
    sender: str
    to: str
    subject: str
    snippet: str
    segments: int
    delivery: str
    attempt: int
    outcome: Outcome
    file: int
    start: int
    length: int


@dataclass(slots=True)
class _Known:
    seen: int = 0
    accepted: int = 0


class Letterbox:
    """Every letter that came.

    The file grows by one line a letter. When it is full it becomes the old file, and the one before that goes: disk and
    memory stay bounded while the counts stay whole.

    Args:
        home: The folder of the two files, made if it is missing.
        kept: How many letters can be found again.
        file_limit: Size in bytes at which a file is full.

    Raises:
        Invalid: Another simulator has this folder open.
    """

    def __init__(self, home: Path, *, kept: int = KEPT, file_limit: int = FILE_LIMIT) -> None:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._home = home
        self._kept = kept
        self._file_limit = file_limit
        self._lock = (home / "letters.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise Invalid("--home", "another simulator keeps its letters there", "one folder each") from error
        self._files: dict[int, IO[bytes]] = {}
        self._forget()
        for path in (home / "letters.old.jsonl", home / "letters.jsonl"):
            if path.exists() or path.name == "letters.jsonl":
                self._load(path)

    def __enter__(self) -> Self:
        """Use it as a context."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close its files."""
        self.close()

    def close(self) -> None:
        """Close its files."""
        for file in self._files.values():
            file.close()
        self._lock.close()

    @property
    def tally(self) -> Tally:
        """The counts."""
        return self._tally

    @property
    def newest(self) -> str:
        """Id of the newest letter, or an empty string."""
        return self._entries[-1].id if self._entries else ""

    def seen(self, delivery: str, to: str) -> int:
        """How often a delivery came for a recipient. Letters that name no delivery are counted by recipient alone."""
        known = self._known.get((delivery, to))
        return known.seen if known else 0

    def put(self, letter: Letter) -> Letter:
        """Keep a letter, cut to size. The result is what was kept, with its attempt filled in."""
        kept = msgspec.structs.replace(trimmed(letter), attempt=self.seen(letter.delivery, letter.to) + 1)
        line = _encoder.encode({"letter": kept}) + b"\n"
        if self._end and self._end + len(line) > self._file_limit:
            self._turn_over()
        self._files[self._file].write(line)
        self._files[self._file].flush()
        self._note(kept, start=self._end, length=len(line))
        self._end += len(line)
        return kept

    def get(self, letter: str) -> Letter | None:
        """The letter with this id, or None where it is not kept."""
        entry = self.entry(letter)
        return self.read(entry) if entry else None

    def entry(self, letter: str) -> Entry | None:
        """What is held in memory of the letter with this id."""
        number = self._numbers.get(letter)
        return self._entries[number - self._entries[0].number] if number is not None else None

    def after(self, entry: Entry) -> Entry | None:
        """The letter that came right after this one."""
        place = entry.number - self._entries[0].number + 1
        return self._entries[place] if place < len(self._entries) else None

    def by_provider(self, provider_id: str) -> Letter | None:
        """The newest letter to which its carrier gave this id."""
        return next((self.read(entry) for entry in reversed(self._entries) if entry.provider_id == provider_id), None)

    def read(self, entry: Entry) -> Letter:
        """The whole letter of an entry."""
        raw = os.pread(self._files[entry.file].fileno(), entry.length, entry.start)
        line = msgspec.json.decode(raw, type=Line)
        assert line.letter is not None
        return line.letter

    def find(
        self, *, delivery: str = "", to: str = "", medium: str = "", outcome: str = "", words: str = "", after: str = ""
    ) -> Iterator[Entry]:
        """Entries that fit, newest first.

        Args:
            delivery: Only letters of this delivery.
            to: Only letters to this recipient; case does not matter.
            medium: Only `email` or `sms`.
            outcome: Only letters with this outcome.
            words: Only letters with this in recipient, sender, subject, delivery or the first words.
            after: Go on after the letter with this id; an unknown one gives the first page.
        """
        place = self._numbers.get(after)
        first = self._entries[0].number if self._entries else 0
        upto = place - first if place is not None else len(self._entries)
        to, words = to.casefold(), words.casefold()
        for index in range(upto - 1, -1, -1):
            entry = self._entries[index]
            if (
                (not delivery or entry.delivery == delivery)
                and (not medium or entry.medium == medium)
                and (not outcome or entry.outcome == outcome)
                and (not to or entry.to.casefold() == to)
                and (not words or words in _sought(entry))
            ):
                yield entry

    def page(self, found: Iterator[Entry], *, limit: int) -> tuple[list[Letter], str]:
        """Up to `limit` whole letters, with the id to go on after (empty at the end)."""
        letters: list[Letter] = []
        size = 0
        for entry in itertools.islice(found, limit):
            letters.append(self.read(entry))
            size += entry.length
            if size > PAGE_BYTES:
                break
        more = next(found, None) is not None
        return letters, letters[-1].id if letters and more else ""

    def clear(self) -> int:
        """Forget every letter with every count. The result is how many there were."""
        letters = self._tally.letters
        for file in self._files.values():
            file.close()
        self._files.clear()
        for name in ("letters.old.jsonl", "letters.jsonl"):
            (self._home / name).unlink(missing_ok=True)
        self._forget()
        self._load(self._home / "letters.jsonl")
        return letters

    def _forget(self) -> None:
        self._tally = Tally()
        self._entries: list[Entry] = []
        self._numbers: dict[str, int] = {}
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._file = 0
        self._end = 0

    def _load(self, path: Path) -> None:
        file = path.open("a+b")
        self._file += 1
        self._files[self._file] = file
        self._end = 0
        file.seek(0)
        for raw in file:
            try:
                line = msgspec.json.decode(raw, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # The last line of a server that was killed while it wrote, or one that somebody else touched.
                if not raw.endswith(b"\n"):
                    break
                self._end += len(raw)
                continue
            if line.tally is not None and not self._tally.letters:
                self._tally = line.tally
            if line.letter is not None:
                self._note(line.letter, start=self._end, length=len(raw))
            self._end += len(raw)
        file.truncate(self._end)

    def _turn_over(self) -> None:
        old = self._files.pop(self._file - 1, None)
        if old is not None:
            old.close()
        (self._home / "letters.jsonl").replace(self._home / "letters.old.jsonl")
        kept = [entry for entry in self._entries if entry.file == self._file]
        self._drop(len(self._entries) - len(kept))
        self._file += 1
        file = (self._home / "letters.jsonl").open("a+b")
        self._files[self._file] = file
        head = _encoder.encode({"tally": self._tally}) + b"\n"
        file.write(head)
        self._end = len(head)

    def _note(self, letter: Letter, *, start: int, length: int) -> None:
        number = self._entries[-1].number + 1 if self._entries else 0
        self._entries.append(_entry(letter, number=number, file=self._file, start=start, length=length))
        self._numbers[letter.id] = number
        self._tally.count(letter)
        self._know(letter)
        # In chunks, since taking from the front of a list moves all the rest.
        if len(self._entries) > self._kept + self._kept // 10:
            self._drop(len(self._entries) - self._kept)

    def _know(self, letter: Letter) -> None:
        known = self._known.setdefault((letter.delivery, letter.to), _Known())
        self._known.move_to_end((letter.delivery, letter.to))
        known.seen += 1
        if letter.delivery and letter.accepted:
            known.accepted += 1
            self._tally.deliveries += known.accepted == 1
            self._tally.doubles += known.accepted == 2  # noqa: PLR2004 - the second is what makes it a double
        if len(self._known) > DELIVERIES_KNOWN:
            self._known.popitem(last=False)

    def _drop(self, count: int) -> None:
        for entry in self._entries[:count]:
            del self._numbers[entry.id]
        del self._entries[:count]


def _entry(letter: Letter, *, number: int, file: int, start: int, length: int) -> Entry:
    return Entry(
        id=letter.id,
        number=number,
        medium=letter.medium,
        carrier=letter.carrier,
        provider_id=letter.provider_id,
        at=letter.at,
        sender=letter.sender,
        to=letter.to,
        subject=letter.subject[:SNIPPET],
        snippet=" ".join(letter.text[: SNIPPET * 2].split())[:SNIPPET],
        segments=letter.segments,
        delivery=letter.delivery,
        attempt=letter.attempt,
        outcome=letter.outcome,
        file=file,
        start=start,
        length=length,
    )


def _sought(entry: Entry) -> str:
    return f"{entry.to}\n{entry.sender}\n{entry.subject}\n{entry.delivery}\n{entry.snippet}".casefold()
