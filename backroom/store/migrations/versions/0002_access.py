"""Who may see what: one role for each door, and row-level security on every table that has an application.

Roles belong to the whole PostgreSQL server, so they may be there already; the databases on it share them.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

ROLES = ("backroom_door", "backroom_worker")


def upgrade() -> None:
    for role in ROLES:
        # Two databases of one server may migrate at the same moment: losing that race is fine.
        op.execute(f"""
            DO $$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                    CREATE ROLE {role} NOLOGIN NOINHERIT;
                END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$
        """)
        # Before PostgreSQL 16 every member of a role may take it on.
        op.execute(f"""
            DO $$ BEGIN
                IF NOT pg_has_role(current_user, '{role}', CASE
                    WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
                    EXECUTE format('GRANT {role} TO %I', current_user);
                END IF;
            END $$
        """)
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")

    # STABLE and wrapped in a sub-select below, so that it is evaluated once a query and not once a row.
    op.execute("""
        CREATE FUNCTION current_app() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
        RETURN nullif(current_setting('backroom.app', true), '')::uuid
    """)
    op.execute("""
        CREATE FUNCTION current_reader() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
        RETURN nullif(current_setting('backroom.user', true), '')
    """)

    op.execute("""
        DO $$ DECLARE t text; BEGIN
            FOR t IN SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables USING
                     (table_schema, table_name) WHERE table_schema = 'public' AND c.column_name = 'app_id' LOOP
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
                EXECUTE format('CREATE POLICY app ON %I USING (app_id = (SELECT current_app()))', t);
                EXECUTE format('GRANT SELECT ON %I TO backroom_door', t);
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO backroom_worker', t);
            END LOOP;
        END $$
    """)

    # A transaction opened for one user sees that user's rows only, whatever the query forgot.
    for table, owner in (
        ("records", "owner"),
        ("record_operations", "owner"),
        ("inbox_items", "user_id"),
        ("users", "id"),
        ("deliveries", "user_id"),
        ("sessions", "user_id"),
        ("events", "user_id"),
        ("identities", "user_id"),
        ("shown_items", "user_id"),
    ):
        op.execute(
            f"CREATE POLICY reader ON {table} AS RESTRICTIVE USING "
            f"((SELECT current_reader()) IS NULL OR {owner} = (SELECT current_reader()))"
        )

    # What somebody did before signing in is theirs, too, once it is known whose it was.
    op.execute("""
        CREATE POLICY reader ON item_events AS RESTRICTIVE USING (
            (SELECT current_reader()) IS NULL
            OR user_id = (SELECT current_reader())
            OR (user_id = '' AND anonymous_id IN
                (SELECT i.anonymous_id FROM identities i WHERE i.user_id = (SELECT current_reader())))
        )
    """)
    # One person for the user, for what the user did before signing in, and for a visitor nobody knows.
    op.execute("""
        CREATE FUNCTION person_of(user_id text, linked text, anonymous_id text)
        RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN CASE WHEN user_id <> '' THEN 'u:' || user_id
                    WHEN linked IS NOT NULL THEN 'u:' || linked
                    ELSE 'a:' || anonymous_id END
    """)

    # The worker's clock-driven jobs go through the applications one by one; the front door sees its caller's only.
    op.execute("ALTER TABLE apps ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY own ON apps FOR SELECT TO backroom_door USING (id = (SELECT current_app()))")
    op.execute("CREATE POLICY every ON apps FOR SELECT TO backroom_worker USING (true)")
    op.execute("GRANT SELECT ON apps TO backroom_door, backroom_worker")

    # A key has to be found before its application is known. Nothing else about keys can be read by a door.
    op.execute("REVOKE ALL ON keys FROM backroom_door, backroom_worker")
    op.execute("""
        CREATE FUNCTION find_key(wanted text)
        RETURNS TABLE (app_id uuid, kind text, hash bytea, revoked_at timestamptz)
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
        AS $$ SELECT k.app_id, k.kind, k.hash, k.revoked_at FROM keys k WHERE k.id = wanted $$
    """)
    op.execute("REVOKE EXECUTE ON FUNCTION find_key(text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION find_key(text) TO backroom_door")
