"""Opens the house and keeps it open: engines, tables, first key, processes, and the way out in reverse."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import structlog

from backroom.cli import _household as household
from backroom.cli import _procfile
from backroom.cli._checks import Check, check_postgres, check_valkey
from backroom.cli._crew import HOME_VARIABLE, Crew, Program, sweep
from backroom.cli._screen import Screen, child_colours
from backroom.domain.errors import CannotStart
from backroom.embedded import Engines, open_home
from backroom.embedded.note import free_port, port_is_free
from backroom.settings import EVERYWHERE, Settings, local_url
from backroom.shelf import Shelves
from backroom.words import Words

DOOR_WITHIN = timedelta(seconds=60)
WORKER_WITHIN = timedelta(seconds=30)
ASK_EVERY = timedelta(milliseconds=100)
REQUEST_WITHIN_SECONDS = 5.0
# Beyond the stop window of its own.
WORKER_LEAVES_WITHIN = timedelta(seconds=5)
HEART = Path(__file__).parent.parent
TEMPLATES = Path(__file__).parent.parent.parent / "templates"
NEWCOMER = {
    "name": "Ada",
    "locale": "en",
    "time_zone": "Europe/Vienna",
    "contacts": {"email": "ada@example.com", "phone": "+4366012345678"},
}


@dataclass(frozen=True, kw_only=True)
class House:
    """What an open house has.

    Attributes:
        home: Its folder.
        door: How it is reached from this machine.
        engines: Those that are its own.
        environ: What every process gets.
        key_file: Where the first application's key is kept.
        new_key: Whether this start made it.
        memory: What the next start should find.
        simulated: Whether a simulator of its own stands in for the carriers.
    """

    home: Path
    door: str
    engines: Engines
    environ: Mapping[str, str]
    key_file: Path
    new_key: bool
    memory: household.Memory
    simulated: bool


def keep_house(settings: Settings, *, procfile: Path, simulate: bool) -> int:
    """Open the house, keep it open until somebody stops it; returns the exit code.

    Raises:
        CannotStart: Something is missing or in the way.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    screen = Screen()
    home = settings.home
    open_home(home)
    with household.locked(home):
        for name in sweep(home):
            screen.news("", f"left behind by an earlier start and stubborn: {name}: killed")
        _need_port(settings)
        need_shelves(settings)
        commands = _procfile.read(procfile)
        engines = Engines(home)
        try:
            house = _furnish(settings, engines, screen, simulate=simulate)
            stop = timedelta(seconds=settings.worker_stop_seconds) + WORKER_LEAVES_WITHIN
            crew = _crew(house, commands, screen, windows={"worker": stop})
            asyncio.run(_keep_open(house, crew, screen))
        finally:
            engines.stop()
        screen.note("everything has stopped")
        return 1 if crew.failed else 0


def _need_port(settings: Settings) -> None:
    host = "127.0.0.1" if settings.host in EVERYWHERE or settings.host == "localhost" else settings.host
    if not port_is_free(settings.port, host):
        raise CannotStart(
            f"port {settings.port} on {host} is taken",
            mend=f"stop what listens there, or choose another one: PORT={settings.port + 1} make up",
        )


def need_shelves(settings: Settings) -> None:
    """Read what stands on the shelves, before a worker fails at it and the house says that it is open.

    Raises:
        CannotStart: A file cannot be read: which, where, and why.
    """
    try:
        shelves = Shelves(settings.shelves)
        # Each of them is read when somebody asks for it.
        _ = shelves.jobs, shelves.rules, shelves.channels, Words(shelves.templates)
    except Exception as error:
        # Whatever a file raises. The last frame that is neither ours nor Python's own says where.
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if "importlib" not in frame.filename and HEART not in Path(frame.filename).parents
        ]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "the shelves"
        if isinstance(error, SyntaxError):
            place = f"{error.filename}:{error.lineno}"
        raise CannotStart(
            f"{place}: {type(error).__name__}: {error}",
            mend="mend the file, or take its package out of BACKROOM_SHELVES; `backroom shelf` reads them all",
        ) from error


def _furnish(settings: Settings, engines: Engines, screen: Screen, *, simulate: bool) -> House:
    """Start what is not given; migrate; make the first key."""
    home = engines.home
    screen.plain("\n Backroom opens\n", style="bold")
    redis_url = settings.redis_url or _start(engines, "valkey", screen)
    if settings.redis_url:
        _accept(check_valkey(redis_url, prefix=settings.key_prefix), "Valkey", "REDIS_URL", screen)
    database_url = settings.database_url or _start(engines, "postgres", screen)
    if settings.database_url:
        _accept(check_postgres(database_url), "PostgreSQL", "DATABASE_URL", screen)
    secret = settings.backroom_secret.get_secret_value() or household.secret(home)
    key_file = household.key_file(home, settings.database_url)
    new_key = _prepare_store(database_url, secret=secret, key_file=key_file, ours=not settings.database_url)
    screen.step("Tables", "up to date")

    simulated = simulate and not settings.simulator_url
    memory = household.recall(home)
    simulator: dict[str, str] = {}
    if simulated:
        memory = msgspec.structs.replace(
            memory,
            simulator_port=free_port(memory.simulator_port),
            simulator_smtp_port=free_port(memory.simulator_smtp_port),
        )
        simulator = {
            "SIMULATOR_URL": f"http://127.0.0.1:{memory.simulator_port}",
            "SIMULATOR_SMTP_PORT": str(memory.simulator_smtp_port),
        }
    household.remember(home, memory)
    environ = {
        **os.environ,
        **child_colours(screen),
        **simulator,
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))),
        "PORT": str(settings.port),
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "BACKROOM_SECRET": secret,
        HOME_VARIABLE: str(home),
        "PYTHONUNBUFFERED": "1",
        # The carriers' libraries honour a proxy; our own simulator must not be looked for behind it.
        **{
            name: ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
            for name in ("NO_PROXY", "no_proxy")
        },
    }
    return House(
        home=home,
        door=local_url(settings.host, settings.port),
        engines=engines,
        environ=environ,
        key_file=key_file,
        new_key=new_key,
        memory=memory,
        simulated=simulated,
    )


def _start(engines: Engines, name: str, screen: Screen) -> str:
    engines.start(valkey=name == "valkey", postgres=name == "postgres")
    engine = engines.valkey if name == "valkey" else engines.postgres
    assert engine is not None
    title = "Valkey" if name == "valkey" else "PostgreSQL"
    screen.step(title, f"{engine.url.rpartition('@')[2].partition('/')[0]}, log in {_short(engine.log)}")
    return engine.url


def _accept(check: Check, title: str, variable: str, screen: Screen) -> None:
    """Take an engine that was given; refuse it only where it cannot work at all."""
    if check.state == "broken":
        raise CannotStart(f"{variable}: {check.found}", mend=check.mend)
    screen.step(title, f"given by {variable}")
    if check.state == "doubtful":
        screen.news("", f"{title}: {check.found}. {check.mend}")


def _prepare_store(database_url: str, *, secret: str, key_file: Path, ours: bool) -> bool:
    """Migrate, and see to the first application; returns whether its key is new."""
    from backroom.store import migrate  # noqa: PLC0415 - slow to load; the engines are starting meanwhile

    migrate.upgrade(database_url)
    return household.first_key(database_url, house_secret=secret, file=key_file, ours=ours)


def _crew(house: House, commands: Mapping[str, str], screen: Screen, *, windows: Mapping[str, timedelta]) -> Crew:
    """The simulator first, then the Procfile's processes in its order."""
    programs = []
    if house.simulated:
        words = [
            *(sys.executable, "-m", "backroom.simulator", "--home", str(house.home / "simulator")),
            *("--port", str(house.memory.simulator_port), "--smtp-port", str(house.memory.simulator_smtp_port)),
        ]
        programs.append(Program(name="simulator", words=words, environ=house.environ))
    for name, command in commands.items():
        words = _procfile.words(command, house.environ)
        window = windows.get(name, Program.window)
        programs.append(Program(name=name, words=words, environ=house.environ, window=window))
    names = [program.name for program in programs]
    screen.expect([*names, "valkey", "postgres"])
    screen.step("Processes", ", ".join(names))
    screen.plain("")
    return Crew(programs, engines=house.engines, say=screen.news, lines=screen.lines)


async def _keep_open(house: House, crew: Crew, screen: Screen) -> None:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        crew.ask_to_stop()
        screen.note("stopping; once more to hurry")

    for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(order, asked)
    crew.start()
    welcome = asyncio.create_task(_welcome(house, screen))
    try:
        await crew.until_asked()
    finally:
        welcome.cancel()
        await asyncio.wait([welcome])
        await crew.stop()


async def _welcome(house: House, screen: Screen) -> None:
    """Wait until the door answers, then say how to knock."""
    async with httpx.AsyncClient(timeout=REQUEST_WITHIN_SECONDS, trust_env=False) as client:
        if not await _ready(client, f"{house.door}/readyz", within=DOOR_WITHIN):
            waited = f"{DOOR_WITHIN.total_seconds():.0f} s"
            screen.news("", f"the door has not become ready within {waited}; its last answer is at {house.door}/readyz")
            return
        key = house.key_file.read_text(encoding="ascii").strip() if house.key_file.exists() else ""
        if key and not house.memory.newcomer and await _introduce(client, house, key, screen):
            household.remember(house.home, msgspec.structs.replace(house.memory, newcomer=True))
    screen.plain("\n Backroom is open\n", style="bold green")
    screen.pair("Console", f"{house.door}/")
    if simulator := house.environ.get("SIMULATOR_URL"):
        screen.pair("Outbox", f"{simulator}/outbox")
    if not key:
        screen.pair("Key", "not kept here: the database had applications already")
    elif house.new_key:
        screen.pair("Key", key)
        screen.pair("", f"shown this once, kept in {_short(house.key_file)}")
    else:
        screen.pair("Key", f"in {_short(house.key_file)}")
    screen.plain("\n Paste this into another terminal, then look into the outbox:\n")
    screen.plain(_curl(house.door, house.key_file))
    screen.plain("\n Ctrl-C stops everything.\n", style="dim")


async def _ready(client: httpx.AsyncClient, url: str, *, within: timedelta) -> bool:
    """Whether `url` comes to answer well."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            while True:
                try:
                    if (await client.get(url)).is_success:
                        return True
                except httpx.TransportError:
                    # Not up yet.
                    pass
                await asyncio.sleep(ASK_EVERY.total_seconds())
    except TimeoutError:
        return False


async def _introduce(client: httpx.AsyncClient, house: House, key: str, screen: Screen) -> bool:
    """Make the user that the printed command writes to, and wait until a worker has really done so."""
    url = f"{house.door}/v1/users/{household.NEWCOMER}"
    client.headers["Authorization"] = f"Bearer {key}"
    try:
        (await client.put(url, json=NEWCOMER)).raise_for_status()
    except httpx.HTTPError as error:
        screen.news("", f"user {household.NEWCOMER} could not be made: {error}")
        return False
    if not await _ready(client, url, within=WORKER_WITHIN):
        waited = f"{WORKER_WITHIN.total_seconds():.0f} s"
        screen.news("", f"no worker has made user {household.NEWCOMER} within {waited}: look at what the worker says")
        return False
    return True


def _curl(door: str, key_file: Path) -> str:
    example = json.loads((TEMPLATES / "order_shipped" / "example.json").read_text(encoding="utf-8"))
    body = json.dumps({"type": "order_shipped", "to": [household.NEWCOMER], "data": example}, ensure_ascii=False)
    return " \\\n  ".join(
        (
            f"curl -i {door}/v1/notifications",
            f'-H "Authorization: Bearer $(cat {shlex.quote(str(key_file))})"',
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(body)}",
        )
    )


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
