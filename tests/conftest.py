"""Real engines for every test that wants them: one Valkey and one PostgreSQL for each pytest process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backroom.embedded import Engines
from backroom.settings import Settings
from backroom.shelf import Shelves
from backroom.store.admin import create_application
from backroom.store.migrate import upgrade
from tests.house import SECRET, TestHouse, cloned_database, settings_for

TEMPLATE = "backroom_template"


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """A developer's own environment must not reach a test: neither the house's settings nor any carrier's keys."""
    carriers = [f"{file.name}_{field}" for file in Shelves().channels.values() for field in file.conf.model_fields]
    for name in (*Settings.model_fields, *carriers):
        os.environ.pop(name.upper(), None)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A Valkey and a PostgreSQL that keep nothing safe, and are quick for it."""
    engines = Engines(tmp_path_factory.mktemp("engines"))
    engines.start(fast=True)
    yield engines
    engines.stop()


@pytest.fixture(scope="session")
def template(engines: Engines) -> str:
    """A migrated database that others are cloned from; the server's address."""
    assert engines.postgres is not None
    with psycopg.connect(engines.postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    upgrade(engines.postgres.url.rpartition("/")[0] + f"/{TEMPLATE}")
    return engines.postgres.url


@pytest.fixture
def database_url(template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with cloned_database(template, TEMPLATE) as url:
        yield url


@pytest.fixture
def redis_url(engines: Engines) -> str:
    """The Valkey of this pytest process; use a prefix of your own."""
    assert engines.valkey is not None
    return engines.valkey.url


@pytest.fixture
def reachable_home() -> Iterator[Path]:
    """A folder for engines that keep their data safe: PostgreSQL's own user can reach it, unlike `tmp_path`."""
    home = Path(tempfile.mkdtemp(prefix="backroom-test-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def house(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[TestHouse]:
    """A house with one application; open its door and start its worker as the story needs them."""
    application = create_application(database_url, name="shop", secret=SECRET.encode())
    house = TestHouse(
        settings=settings_for(redis_url=redis_url, database_url=database_url, home=tmp_path), app=application
    )
    yield house
    house.close()
