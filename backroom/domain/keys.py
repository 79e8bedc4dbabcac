"""Application keys: recognisable, checkable without a look-up, and kept only as a keyed hash.

`br_live_3kTq9ZpXw2_…` is `br`, the kind, ten characters that name the key in logs and lists, and forty-three that are
the secret. The secret has 256 random bits, so a fast hash is enough (it cannot be guessed), and keying the hash with
the house's own secret makes a stolen table useless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["secret", "write"]

# What the key's reader sees: a secret key acts for the application, a write key may only hand in events.
_MARKS: dict[Kind, str] = {"secret": "live", "write": "track"}
_KINDS: dict[str, Kind] = {mark: kind for kind, mark in _MARKS.items()}
_SHAPE = re.compile(r"br_(live|track)_([0-9A-Za-z]{10})_([0-9A-Za-z_-]{43})")
_ALPHABET = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class Key:
    """An application key.

    Attributes:
        id: The part that may be shown.
        kind: What it may do.
        text: All of it; never logged.
    """

    id: str
    kind: Kind
    text: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Key({self.id!r}, {self.kind!r})"


def mint(kind: Kind, random_bytes: Callable[[int], bytes]) -> Key:
    """Make a new key from a source of random bytes such as `secrets.token_bytes`."""
    name = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random_bytes(10))
    secret = base64.urlsafe_b64encode(random_bytes(32)).rstrip(b"=").decode()
    return Key(name, kind, f"br_{_MARKS[kind]}_{name}_{secret}")


def parse(text: str) -> Key | None:
    """The key that a text is, or None where it has not the shape of one."""
    match = _SHAPE.fullmatch(text)
    return Key(match[2], _KINDS[match[1]], text) if match else None


def keyed_hash(key: Key, secret: bytes) -> bytes:
    """What is stored of a key: HMAC-SHA-256 over all of it with the house's own secret."""
    return hmac.new(secret, key.text.encode(), hashlib.sha256).digest()
