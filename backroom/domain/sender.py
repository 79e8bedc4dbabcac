"""Who a mail is from: an address, or a name with one."""

from __future__ import annotations

import re
from email.utils import parseaddr

_ADDRESS = re.compile(r"[!-;=?A-~]+@[!-;=?A-~]+")


def check_sender(value: str) -> str:
    """The same, where it can stand in a mail's header.

    Raises:
        ValueError: It cannot.
    """
    if not value.isprintable() or not _ADDRESS.fullmatch(parseaddr(value)[1]):
        raise ValueError("is no address such as Shop <shop@example.com>")
    return value
