"""What the page about Sentinel and clusters shows is what the engines take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

from backroom.queue.address import read_address
from tests.integration.queue_engine import until
from tests.integration.queue_engines import Node, free_port

PAGE = (Path(__file__).parents[2] / "docs/how-to/run-on-sentinel-or-cluster.md").read_text("utf-8")
HOST = "valkey1.internal"


def block(of: str) -> str:
    (found,) = [text for text in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if of in text]
    return found.replace(HOST, "127.0.0.1")


def started(tmp_path: Path, name: str, *, config: str, args: tuple[str, ...] = ()) -> Node:
    node = Node(tmp_path, name)
    file = node.folder / "valkey.conf"
    file.write_text(f"{config}\nport {node.port}\nbind 127.0.0.1\ndir {node.folder}\n")
    node.args = [str(file), *args]
    node.start()
    return node


def takes_writes(node: Node) -> bool:
    try:
        return bool(node.ask("SET", "probe", "1"))
    except redis.ResponseError:
        return False


def test_the_lines_for_nodes_and_sentinels_make_a_set_that_fails_over(tmp_path: Path):
    data, guard = block("replicaof"), block("sentinel monitor")
    first_only = data.partition("# On all but the first")[0]
    nodes: list[Node] = []
    try:
        nodes.append(started(tmp_path, "first", config=first_only))
        second = data.replace("127.0.0.1 6379", f"127.0.0.1 {nodes[0].port}")
        nodes.append(started(tmp_path, "second", config=second))
        watch = guard.replace("127.0.0.1 6379", f"127.0.0.1 {nodes[0].port}")
        nodes.append(started(tmp_path, "sentinel", config=watch, args=("--sentinel",)))

        until(lambda: nodes[0].ask("INFO", "replication")["connected_slaves"] == 1)
        with nodes[2].client() as client:
            until(lambda: client.sentinel_master("house")["num-slaves"] == 1, within=60)
        until(lambda: takes_writes(nodes[0]), within=60)
    finally:
        for node in nodes:
            node.stop()


def test_the_lines_for_a_cluster_make_a_node_of_one(tmp_path: Path):
    node = started(tmp_path, "node", config=block("cluster-enabled"), args=("--cluster-port", str(free_port())))
    try:
        assert node.ask("CLUSTER INFO")["cluster_known_nodes"] == "1"
        assert node.ask("CONFIG", "GET", "min-replicas-to-write")
    finally:
        node.stop()


@pytest.mark.parametrize("form", sorted(set(re.findall(r"`((?:rediss?|unix)[+a-z]*://[^`]*)`", PAGE))))
def test_every_form_of_the_table_is_an_address(form: str):
    form = form.replace("…", "user:password@host" + ("/service" if "sentinel" in form else ""))

    assert read_address(form)
