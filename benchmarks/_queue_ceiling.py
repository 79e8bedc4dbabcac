"""What stands above every queue: how fast this Valkey takes commands, with no queue in between."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import redis

KEY = "bench:ceiling"
# As long as a small message of ours.
BODY = b"x" * 250
PART = 500
TOOLS = ("valkey-benchmark", "redis-benchmark")
WITHIN = timedelta(seconds=60)


def pipelines(url: str, count: int) -> float:
    """Commands a second from redis-py, which encodes and decodes every one."""
    with redis.Redis.from_url(url) as client:
        return _rate(count, lambda: _push_in_pipelines(client, count // PART))


def packed(url: str, count: int) -> float:
    """Commands a second when they are encoded beforehand, and hiredis alone reads the answers."""
    where = urlsplit(url)
    command = _command("LPUSH", KEY, BODY) * PART
    with socket.create_connection((where.hostname, where.port), timeout=WITHIN.total_seconds()) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = hiredis.Reader()
        _exchange(wire, reader, _command("AUTH", where.password or ""), answers=1)
        return _rate(count, lambda: _push_packed(wire, reader, command, count // PART))


def tool(url: str, count: int) -> tuple[str, float] | None:
    """The name and the figure of the engine's own tool, if there is one on the path."""
    found = next((path for path in map(shutil.which, TOOLS) if path), None)
    if found is None:
        return None
    where = urlsplit(url)
    said = subprocess.run(  # noqa: S603 - the engine's own tool, with our own arguments
        [
            *(found, "-h", str(where.hostname), "-p", str(where.port), "--csv", "-P", str(PART), "-c", "1"),
            *("-n", str(count), "-d", str(len(BODY)), "-t", "lpush"),
            # The machine may read it: the engine is the benchmark's own, and gone in a minute.
            *("-a", where.password or ""),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN.total_seconds(),
    ).stdout
    name, rate, *_ = said.strip().splitlines()[-1].replace('"', "").split(",")
    return f"{Path(found).name} {name}", float(rate)


def _push_in_pipelines(client: redis.Redis, parts: int) -> None:
    for _ in range(parts):
        pipe = client.pipeline(transaction=False)
        for _ in range(PART):
            pipe.lpush(KEY, BODY)
        pipe.execute()


def _push_packed(wire: socket.socket, reader: hiredis.Reader, command: bytes, parts: int) -> None:
    for _ in range(parts):
        _exchange(wire, reader, command, answers=PART)


def _exchange(wire: socket.socket, reader: hiredis.Reader, command: bytes, *, answers: int) -> None:
    wire.sendall(command)
    while answers:
        reader.feed(wire.recv(65_536))
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            answers -= 1


def _command(*words: str | bytes) -> bytes:
    # Its stub knows of one word only.
    pack: Any = hiredis.pack_command
    return bytes(pack(words))


def _rate(count: int, push: Callable[[], None]) -> float:
    began = time.perf_counter()
    push()
    return count // PART * PART / (time.perf_counter() - began)
