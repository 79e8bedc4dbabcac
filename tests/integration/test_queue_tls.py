"""The line to the engine is private, to the one that was meant, and for those who may come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from backroom.domain.errors import QueueAway
from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import open_async_client, open_client
from backroom.queue.sender import AsyncSender, Sender
from tests.integration.queue_engine import actor, post, until, working
from tests.integration.queue_engines import Node, free_port
from tests.integration.queue_tls import Authority, tls_before


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path, "node")
    node.start()
    yield node
    node.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Address:
    """What `working` needs to know of an engine."""

    prefix = "br"

    def __init__(self, url: str) -> None:
        self.url = url


async def _send(url: str) -> None:
    async with open_async_client(url, prefix="br") as client:
        await AsyncSender(client, prefix="br", timeout=timedelta(seconds=5)).send([post("note", "async")])


def test_a_message_travels_over_tls(node: Node, authority: Authority):
    ran: list[str] = []

    def note(message: dict[str, str]) -> None:
        ran.append(message["n"])

    with tls_before(node.port, authority.sign("server")) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        with working(Address(url), actor("note", note)), open_client(url) as client:
            Sender(client, prefix="br").send([post("note", "sync")])
            asyncio.run(_send(url))
            until(lambda: sorted(ran) == ["async", "sync"])


def test_an_engine_with_anothers_certificate_hears_nothing(node: Node, authority: Authority, tmp_path: Path):
    with tls_before(node.port, Authority(tmp_path, "theirs").sign("server")) as port:
        url = f"rediss://:secret@127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        with open_client(url) as client, pytest.raises(QueueAway, match="CERTIFICATE_VERIFY_FAILED") as refused:
            Sender(client, prefix="br").send([post("note")])
        assert "secret" not in str(refused.value)


def test_an_engine_under_another_name_hears_nothing(node: Node, authority: Authority):
    with tls_before(node.port, authority.sign("server", address="127.0.0.2")) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        with open_client(url) as client, pytest.raises(QueueAway, match="CERTIFICATE_VERIFY_FAILED"):
            Sender(client, prefix="br").send([post("note")])
        with open_client(f"{url}&ssl_check_hostname=no") as client:
            Sender(client, prefix="br").send([post("note")])


def test_an_engine_that_asks_for_a_certificate_gets_ours(node: Node, authority: Authority):
    ours = authority.sign("worker", address=None)
    with tls_before(node.port, authority.sign("server"), clients_of=authority) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        with open_client(url) as client, pytest.raises(QueueAway):
            Sender(client, prefix="br").send([post("note")])
        with open_client(f"{url}&ssl_certfile={ours.certificate}&ssl_keyfile={ours.key}") as client:
            Sender(client, prefix="br").send([post("note")])


def test_a_cluster_is_asked_and_followed_over_tls(tmp_path: Path, authority: Authority):
    outside = free_port()
    args = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-announce-port", str(outside)]
    node = Node(tmp_path, "node", *args)
    node.start()
    try:
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        until(lambda: node.ask("CLUSTER INFO")["cluster_state"] == "ok")
        with tls_before(node.port, authority.sign("server"), listen=outside):
            url = f"rediss+cluster://127.0.0.1:{outside}?ssl_ca_certs={authority.file}"
            asyncio.run(_send(url))
            broker = ValkeyBroker(url, prefix="br")
            assert broker.client.set("{br}:probe", "1")
            assert isinstance(broker.client, redis.Redis)
            broker.close()
    finally:
        node.stop()
