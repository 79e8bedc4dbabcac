"""A connection that sends a head without end, or none at all, is closed; every other one is served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import uvicorn

from api_shim import protocol
from tests.house import free_port, until


async def answer(scope, receive, send):
    """An application that reads its body and says how long it was."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(answer, port=free_port(), http=protocol.BoundedHttp, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, what="the server is open")
    yield "127.0.0.1", config.port
    server.should_exit = True
    thread.join(10)


def until_closed(connection: socket.socket) -> bytes:
    said = b""
    try:
        while chunk := connection.recv(65_536):
            said += chunk
    except ConnectionResetError:
        pass
    return said


def test_a_head_without_end_is_cut_off(address):
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
        try:
            for _ in range(64):
                connection.sendall(b"a" * 65_536)
        except OSError:
            pass  # it hung up while we were still talking
        assert until_closed(connection) in {b"", protocol._TOO_LARGE}


def test_a_large_body_behind_a_small_head_is_read_and_the_connection_used_again(address):
    body = b"b" * 1_000_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(address, timeout=20) as connection:
        for _ in range(3):
            connection.sendall(head + body)
            assert connection.recv(65_536).endswith(b"1000000")


def test_a_connection_that_says_nothing_is_closed(address, monkeypatch):
    monkeypatch.setattr(protocol, "SLOWEST_HEAD", timedelta(milliseconds=200))
    with socket.create_connection(address, timeout=20) as connection:
        assert until_closed(connection) == b""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
        assert until_closed(connection) == b""
