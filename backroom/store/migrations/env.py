"""How Alembic reaches the database: with the address it was given, one migrator at a time."""

from alembic import context
from sqlalchemy import create_engine, pool, text

from backroom.store.tables import metadata

# Any number will do, as long as nobody else uses it: it is the name of the migrators' lock.
LOCK = 4_217_006_511

engine = create_engine(context.config.attributes["database_url"], poolclass=pool.NullPool)
with engine.connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
