"""Connections to PostgreSQL: one pool a process, in the role of its door, and a clear word when it is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backroom.domain.errors import Invalid, StoreAway

Door = Literal["backroom_door", "backroom_worker"]

# Connection failures, shutdown in progress, cannot connect now; disk or memory full, too many connections;
# the old primary after a failover, which only reads: https://www.postgresql.org/docs/current/errcodes-appendix.html
_AWAY = ("08", "57P", "53", "25006")
# A value missing, of an application that is not there, or outside of what a table takes.
_NEVER = ("23502", "23503", "23514")
STATEMENT_TIMEOUT = timedelta(seconds=30)
LONGEST_STATEMENT = timedelta(minutes=4)
# What goes over all that ever happened says so first.
LONGER = text(f"SET LOCAL statement_timeout = '{round(LONGEST_STATEMENT.total_seconds())}s'")
# The server ends what takes too long, if it can still do anything; this is for one that cannot.
PATIENCE: dict[Door, timedelta] = {
    "backroom_door": STATEMENT_TIMEOUT + timedelta(seconds=5),
    "backroom_worker": LONGEST_STATEMENT + timedelta(seconds=5),
}
# A network that has gone silent is noticed within 25 seconds, whether we wait for an answer or still send.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}


def driver_url(database_url: str) -> str:
    """The same address for SQLAlchemy, which wants the driver's name in the scheme."""
    return make_url(database_url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def open_engine(database_url: str, *, door: Door, connect_timeout: timedelta, connections: int | None) -> Engine:
    """A pool of connections that all act in the door's role, which row-level security binds.

    Args:
        database_url: As the operator gave it.
        door: The role; the front door's may only read.
        connect_timeout: How long a new connection, or the wait for a free one, may take.
        connections: How many are open at once at the most; None for as many as there are threads that use one.
    """
    read_only = " -c default_transaction_read_only=on" if door == "backroom_door" else ""
    engine = create_engine(
        driver_url(database_url),
        # Zero is no limit.
        pool_size=connections or 0,
        max_overflow=0,
        pool_timeout=connect_timeout.total_seconds(),
        # An error's text ends up in logs and dead letters; the values it was about must not.
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(2, round(connect_timeout.total_seconds())),
            "options": f"-c role={door} -c statement_timeout={round(STATEMENT_TIMEOUT.total_seconds())}s"
            f" -c idle_in_transaction_session_timeout=2min{read_only}",
            "application_name": door,
            **_KEEPALIVE,
        },
    )

    def connect(_dialect: object, _record: object, _args: object, wanted: dict[str, Any]) -> _Connection:
        connection = _Connection.connect(**wanted)
        connection.patience = PATIENCE[door].total_seconds()
        return connection

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", _say_away)
    return engine


@contextmanager
def owner_engine(database_url: str) -> Iterator[Engine]:
    """Connections as the owner of the tables, for a terminal; closed at the end."""
    engine = create_engine(driver_url(database_url), hide_parameters=True, connect_args={"connect_timeout": 5})
    event.listen(engine, "handle_error", _say_away)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def told_when_away() -> Iterator[None]:
    """Turn the pool's own way to say that PostgreSQL is gone into ours.

    Raises:
        StoreAway: No connection came free in time.
    """
    try:
        yield
    except PoolTimeout as error:
        raise StoreAway("no connection to PostgreSQL came free in time") from error


def _say_away(context: ExceptionContext) -> None:
    original = context.original_exception
    if context.is_disconnect or is_away(original):
        raise StoreAway("PostgreSQL does not answer") from original
    refuse(original)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"{type(original).__name__}: {original}",)


def is_away(error: BaseException) -> bool:
    """Whether the same may go well later: PostgreSQL is gone, full, or not the one to write to."""
    if not isinstance(error, psycopg.Error):
        return False
    # A connection that could not be made, or broke under us, has no SQLSTATE at all.
    broken = not error.sqlstate and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return broken or (error.sqlstate or "").startswith(_AWAY)


def refuse(error: BaseException) -> None:
    """Say that a value can never be kept, and take what was to be kept out of what PostgreSQL says.

    Its details quote rows, documents and keys; an error's words end up in logs and dead letters.

    Raises:
        Invalid: PostgreSQL will refuse this again, however often it is tried.
    """
    if not isinstance(error, psycopg.Error):
        return
    if isinstance(error, psycopg.DataError) or error.sqlstate in _NEVER:
        error.args = ("a value that cannot be kept",)
        raise Invalid("", f"cannot be kept by PostgreSQL ({error.sqlstate or 'NUL character'})") from error
    if error.diag.message_primary:
        error.args = (error.diag.message_primary,)


class _Connection(psycopg.Connection[Any]):
    """Waits for the server, but not for ever: one that hangs keeps its connections open and says nothing."""

    patience: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except psycopg.OperationalError as error:
            if not error.sqlstate:
                # No answer in time, or no connection any more: in the middle of a question it is of no use to the next.
                self.pgconn.finish()
            raise
