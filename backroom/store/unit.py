"""One transaction on behalf of one application: what it read and wrote happens together or not at all."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select, text

from backroom.domain.errors import StoreAway
from backroom.store.engine import told_when_away
from backroom.store.read import Reader
from backroom.store.tables import apps
from backroom.store.write import Writer

_SCOPE = text("SELECT set_config('backroom.app', :app, true)")


class Unit:
    """Opens its transaction at the first question, so that a job which asks nothing costs nothing.

    Args:
        engine: A pool in the worker's role.
        app: The application it acts for; every row it can see or write is that application's.
    """

    def __init__(self, engine: Engine, app: str) -> None:
        self._engine = engine
        self._app = app
        self._connection: Connection | None = None

    @property
    def read(self) -> Reader:
        """The application's questions."""
        return Reader(self._open(), app=self._app)

    @property
    def write(self) -> Writer:
        """The application's changes."""
        return Writer(self._open(), app=self._app)

    def commit(self) -> None:
        """Make what was written last. The next question opens a new transaction.

        Raises:
            StoreAway: PostgreSQL did not answer; whether it committed is not known.
        """
        if self._connection is not None:
            try:
                self._connection.commit()
            finally:
                self.close()

    def close(self) -> None:
        """Forget what was not committed, and give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except StoreAway:
                # It broke under us, and could not even say so to the other side: the pool must not keep it.
                connection.detach()

    def _open(self) -> Connection:
        if self._connection is None:
            with told_when_away():
                # Kept before it is used: whatever happens next, `close` gives it back to the pool.
                self._connection = self._engine.connect()
                self._connection.execute(_SCOPE, {"app": self._app})
        return self._connection


class Store:
    """The worker's way to the memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def unit(self, app: str) -> Unit:
        """A transaction for one application, not yet opened."""
        return Unit(self._engine, app)

    def apps(self) -> list[str]:
        """The ids of all applications, oldest first.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """
        with told_when_away(), self._engine.connect() as connection:
            return list(connection.scalars(select(apps.c.id).order_by(apps.c.created_at)))

    def house(self) -> str | None:
        """The application whose administrators hear about the machines, or None before there is one."""
        with told_when_away(), self._engine.connect() as connection:
            found: str | None = connection.scalar(select(apps.c.id).where(apps.c.is_house))
            return found
