"""An engine's address says what it is, or what is wrong with it, and never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from backroom.domain.errors import Invalid
from backroom.queue.address import Host, read_address
from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import open_async_client, open_client


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "login"),
    [
        ("redis://", "single", [("localhost", 6379)], {}),
        ("redis://localhost:6379/0", "single", [("localhost", 6379)], {"db": 0}),
        ("redis://:p%40s%2Fs@valkey:1/2", "single", [("valkey", 1)], {"db": 2, "password": "p@s/s"}),
        ("redis://ann:pw@[::1]:7/", "single", [("::1", 7)], {"username": "ann", "password": "pw"}),
        ("redis://valkey/1?db=2&client_name=web", "single", [("valkey", 6379)], {"db": 2, "client_name": "web"}),
        ("redis+cluster://a,b:7,[fe80::1]:8", "cluster", [("a", 6379), ("b", 7), ("fe80::1", 8)], {}),
        ("rediss+cluster://ann:pw@a:1/0", "cluster", [("a", 1)], {"username": "ann", "password": "pw"}),
        ("redis+sentinel://s1,s2:5/house?db=3", "sentinel", [("s1", 26379), ("s2", 5)], {"db": 3}),
    ],
)
def test_an_address_is_taken_apart(url: str, kind: str, hosts: list[tuple[str, int]], login: dict[str, object]):
    address = read_address(url)

    assert (address.kind, list(address.hosts), dict(address.login)) == (kind, hosts, login)
    assert (address.tls is not None) == url.startswith("rediss")


def test_a_socket_has_a_path_and_perhaps_a_password():
    address = read_address("unix://ann:p%3Aw@/run/my%20valkey.sock?db=1")

    assert address.path == "/run/my valkey.sock"
    assert dict(address.login) == {"username": "ann", "password": "p:w", "db": 1}


def test_sentinels_have_users_of_their_own():
    address = read_address("redis+sentinel://ann:pw@s1/house?sentinel_username=guard&sentinel_password=gp")

    assert address.service == "house"
    assert dict(address.login) == {"username": "ann", "password": "pw"}
    assert dict(address.sentinel_login) == {"username": "guard", "password": "gp"}


def test_a_line_with_tls_names_its_files(tmp_path: Path):
    (tmp_path / "ca.pem").touch()

    address = read_address(f"rediss://valkey?ssl_ca_certs={tmp_path}/ca.pem&ssl_check_hostname=no")

    assert address.tls == {"ssl_ca_certs": f"{tmp_path}/ca.pem", "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("url", "wrong", "right"),
    [
        ("localhost:6379", "no scheme", "redis://"),
        ("redis:/localhost", "no scheme", "redis://"),
        ("hunter2@redis://localhost", "no scheme", "redis://"),
        ("valkey://localhost", "begins with valkey://", "redis://"),
        ("amqp://ann:hunter2@rabbit", "RabbitMQ", "Valkey or Redis"),
        ("redis://a,b", "several hosts", "redis+sentinel://"),
        ("redis://a:port", "a port that is no number", "%2F"),
        ("redis://a:70000", "a port that is no number", ""),
        ("redis://:hunter2/x@host", "/ before the @", "%2F"),
        ("redis://:hun/ter2@host:1/0", "/ before the @", "%2F"),
        ("redis://:hunter2?x@host", "a host that cannot be one|a port that is no number|not known", ""),
        ("redis://:hun#ter2@host", "has a #", "%23"),
        ("redis://ho st", "a host that cannot be one", "host:6379"),
        ("redis://host/house", "a database that is no number", "/0"),
        ("redis://host?db=one", "a database that is no number", ""),
        ("redis://host?retry=3", "has retry after the ?", "db, username"),
        ("redis://host?ssl_ca_certs=/x", "ssl_ca_certs without TLS", "rediss"),
        ("redis://host?sentinel_password=hunter2", "without Sentinel", "redis+sentinel://"),
        ("rediss://host?ssl_ca_certs=/not/there", "not there or cannot be read", "PEM"),
        ("rediss://host?ssl_cert_reqs=perhaps", "ssl_cert_reqs", "none"),
        ("rediss://host?ssl_check_hostname=perhaps", "ssl_check_hostname", "no"),
        ("redis+sentinel://host:26379", "names no service", "mymaster"),
        ("redis+sentinel://host/my/house", "not the name of a service", "mymaster"),
        ("redis+sentinel:///house", "names no host", ""),
        ("redis+sentinel://a,,b/house", "an empty host", ""),
        ("redis+cluster://host/1", "a database of a cluster", "KEY_PREFIX"),
        ("redis+cluster://host?db=1", "a database of a cluster", "KEY_PREFIX"),
        ("unix://", "names no file", "unix:///"),
        ("unix://valkey.sock", "names no file", "unix:///"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_wrong_and_what_would_be_right(url: str, wrong: str, right: str):
    for open_it in (open_client, open_async_client):
        with pytest.raises(Invalid) as refused:
            open_it(url, prefix="br")

        assert refused.value.field == "REDIS_URL"
        assert any(one in refused.value.wrong for one in wrong.split("|"))
        assert right in refused.value.right
        assert "hunter2" not in str(refused.value)
        assert "ter2" not in str(refused.value)


def test_an_address_and_its_client_show_no_secret():
    url = "redis+sentinel://ann:hunter2@s1/house?sentinel_password=hunter3"

    shown = f"{read_address(url)!r} {open_client(url)!r} {open_async_client(url)!r}"

    assert "hunter" not in shown


@pytest.mark.parametrize(
    "url", ["redis://a", "rediss://a", "unix:///a", "redis+sentinel://a/house", "redis+cluster://a"]
)
def test_no_client_repeats_a_command_by_itself(url: str):
    for open_it in (open_client, open_async_client):
        pool = open_it(url, prefix="br").connection_pool

        assert pool.make_connection().retry.get_retries() == 0
        if route := pool.connection_kwargs.get("route"):
            assert route._options["retry"].get_retries() == 0


def test_a_client_that_repeats_commands_by_itself_is_refused():
    cluster = redis.RedisCluster.__new__(redis.RedisCluster)

    with pytest.raises(TypeError, match=r"redis\+cluster://"):
        ValkeyBroker(cluster, prefix="br")


def test_a_cluster_is_not_opened_without_a_prefix():
    with pytest.raises(ValueError, match="prefix"):
        open_client("redis+cluster://host")


def test_a_host_is_written_as_in_an_address():
    assert [str(Host("a", 1)), str(Host("::1", 2))] == ["a:1", "[::1]:2"]
