"""Every table, in the order of the mission's parts.

Each table with an `app_id` is under row-level security: the roles that the doors use see the rows of the application
that their transaction was opened for, and none without one. Times are UTC; sizes and counts are what their names say.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[str]:
    return Column("id", Uuid(as_uuid=False), primary_key=True)


def _app() -> Column[str]:
    return Column("app_id", Uuid(as_uuid=False), ForeignKey("apps.id", ondelete="CASCADE"), nullable=False)


def _at(name: str, *, now: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=not now, server_default=func.now() if now else None)


def _json(name: str) -> Column[Any]:
    return Column(name, JSONB, nullable=False, server_default=text("'{}'::jsonb"))


# Who may come in ------------------------------------------------------------------------------------------------------

apps = Table(
    "apps",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    # The house application's administrators hear about the machines themselves.
    Column("is_house", Boolean, nullable=False, server_default=text("false")),
    _at("created_at", now=True),
    Index("ix_apps_one_house", "is_house", unique=True, postgresql_where=text("is_house")),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    _app(),
    Column("kind", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _at("created_at", now=True),
    _at("revoked_at"),
    CheckConstraint("kind IN ('secret', 'write')", name="kind"),
    Index("ix_keys_app_id", "app_id"),
)

users = Table(
    "users",
    metadata,
    _app(),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("locale", Text, nullable=False, server_default="en"),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    _json("contacts"),
    _json("attributes"),
    Column("administrator", Boolean, nullable=False, server_default=text("false")),
    # Which message wrote it last: ids are time-ordered, so an older message that arrives late changes nothing.
    Column("written_by", Uuid(as_uuid=False), nullable=False),
    _at("updated_at", now=True),
    PrimaryKeyConstraint("app_id", "id"),
)

# Notifications --------------------------------------------------------------------------------------------------------

notifications = Table(
    "notifications",
    metadata,
    _id(),
    _app(),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("to_users", JSONB, nullable=False),
    _at("accepted_at"),
    _at("created_at", now=True),
    Index("ix_notifications_app_id_id", "app_id", "id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    _app(),
    Column("notification_id", Uuid(as_uuid=False), ForeignKey("notifications.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("medium", Text, nullable=False),
    Column("carrier", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("provider_id", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("code", Text, nullable=False, server_default=""),
    Column("locale", Text, nullable=False, server_default=""),
    _at("claimed_at"),
    _at("due_at"),
    _at("finished_at"),
    _at("created_at", now=True),
    UniqueConstraint("notification_id", "user_id", "medium"),
    CheckConstraint(
        "state IN ('waiting', 'sending', 'retrying', 'sent', 'delivered', 'refused', 'failed', 'skipped', 'unknown')",
        name="state",
    ),
    Index("ix_deliveries_app_id", "app_id"),
    # What the rescuer looks for: rows that are not finished, oldest first.
    Index(
        "ix_deliveries_open",
        "app_id",
        "created_at",
        postgresql_where=text("state IN ('waiting', 'sending', 'retrying')"),
    ),
)

inbox_items = Table(
    "inbox_items",
    metadata,
    _id(),
    _app(),
    Column("user_id", Text, nullable=False),
    Column("notification_id", Uuid(as_uuid=False), ForeignKey("notifications.id", ondelete="CASCADE"), nullable=False),
    Column("type", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("link", Text, nullable=False, server_default=""),
    _at("created_at", now=True),
    _at("read_at"),
    Index("ix_inbox_items_app_id_user_id_id", "app_id", "user_id", "id"),
)

suppressions = Table(
    "suppressions",
    metadata,
    _app(),
    Column("medium", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _at("since", now=True),
    PrimaryKeyConstraint("app_id", "medium", "address"),
)

# Storage and delivery -------------------------------------------------------------------------------------------------

records = Table(
    "records",
    metadata,
    _app(),
    Column("collection", Text, nullable=False),
    # The user it belongs to; empty for what belongs to the application itself.
    Column("owner", Text, nullable=False),
    # Lists go by it, in the order of its characters' numbers, whatever the database's language.
    Column("key", Text(collation="C"), nullable=False),
    # None once it is deleted: the row stays a while, so that a record that comes back goes on counting its versions.
    Column("value", JSONB(none_as_null=True)),
    Column("version", BigInteger, nullable=False),
    _at("created_at", now=True),
    _at("updated_at", now=True),
    _at("deleted_at"),
    PrimaryKeyConstraint("app_id", "collection", "owner", "key"),
    CheckConstraint("(value IS NULL) = (deleted_at IS NOT NULL)", name="deleted"),
    Index("ix_records_deleted", "app_id", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
)

record_operations = Table(
    "record_operations",
    metadata,
    # The message's id. Written in the transaction of its effect, so a message that is delivered twice acts once.
    Column("id", Uuid(as_uuid=False), primary_key=True),
    _app(),
    # Who may ask what became of it; as in `records`.
    Column("owner", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    _at("done_at", now=True),
    Index("ix_record_operations_app_id_done_at", "app_id", "done_at"),
)

# Sessions and state ---------------------------------------------------------------------------------------------------

sessions = Table(
    "sessions",
    metadata,
    _app(),
    # SHA-256 of the token: whoever reads this table can open no session.
    Column("token_hash", Text, nullable=False),
    Column("user_id", Text, nullable=False, server_default=""),
    Column("state", JSONB, nullable=False),
    # What callers compare: one more with every change of the state.
    Column("version", BigInteger, nullable=False),
    # What saves are ordered by: one more with every change of the hot copy, also where only `seen_at` moved.
    Column("revision", BigInteger, nullable=False),
    Column("idle_seconds", Integer, nullable=False),
    _at("created_at", now=True),
    _at("seen_at", now=True),
    _at("expires_at", now=True),
    # The earlier of `expires_at` and the end of its idle time.
    _at("lapses_at", now=True),
    _at("ended_at"),
    PrimaryKeyConstraint("app_id", "token_hash"),
    Index("ix_sessions_open", "app_id", "lapses_at", postgresql_where=text("ended_at IS NULL")),
    Index("ix_sessions_ended", "app_id", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)

# Alerting -------------------------------------------------------------------------------------------------------------

alerts = Table(
    "alerts",
    metadata,
    _id(),
    _app(),
    Column("rule", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("says", Text, nullable=False),
    _json("evidence"),
    _at("found_at", now=True),
    _at("seen_at", now=True),
    _at("fired_at"),
    _at("resolved_at"),
    _at("acknowledged_at"),
    Column("acknowledged_by", Text, nullable=False, server_default=""),
    # Whom we told that it fires, and the notifications that said so and that it is fine again. No foreign keys: a
    # notice is decided on with the alert and written by a later job.
    Column("told", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("fired_notice", Uuid(as_uuid=False)),
    Column("resolved_notice", Uuid(as_uuid=False)),
    CheckConstraint("state IN ('pending', 'firing', 'resolved')", name="state"),
    Index("ix_alerts_app_id_id", "app_id", "id"),
    Index("ix_alerts_app_id_rule_fired_at", "app_id", "rule", "fired_at"),
    # An alert's identity: one open alert for a rule and what it is about.
    Index("uq_alerts_open", "app_id", "rule", "about", unique=True, postgresql_where=text("state <> 'resolved'")),
)

rule_settings = Table(
    "rule_settings",
    metadata,
    _app(),
    Column("rule", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double, nullable=False),
    PrimaryKeyConstraint("app_id", "rule", "name"),
)

# Analysis -------------------------------------------------------------------------------------------------------------

events = Table(
    "events",
    metadata,
    _app(),
    Column("message_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("user_id", Text, nullable=False, server_default=""),
    Column("anonymous_id", Text, nullable=False, server_default=""),
    _json("properties"),
    _json("context"),
    # When it happened by our clock. The client's two times are kept beside it, so that it can be computed again.
    _at("at", now=True),
    _at("received_at", now=True),
    _at("original_at"),
    _at("sent_at"),
    Column("clamped", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("app_id", "message_id"),
    Index("ix_events_app_id_at", "app_id", "at"),
    Index("ix_events_app_id_name_at", "app_id", "name", "at"),
    Index("ix_events_app_id_user_id_at", "app_id", "user_id", "at"),
    Index("ix_events_anonymous", "app_id", "anonymous_id", postgresql_where=text("anonymous_id <> ''")),
)

identities = Table(
    "identities",
    metadata,
    _app(),
    Column("anonymous_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    _at("linked_at", now=True),
    PrimaryKeyConstraint("app_id", "anonymous_id"),
    Index("ix_identities_app_id_user_id", "app_id", "user_id"),
)

item_events = Table(
    "item_events",
    metadata,
    # What an event says about items, with its numbers checked: one row for each item in it.
    _app(),
    Column("message_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("user_id", Text, nullable=False, server_default=""),
    Column("anonymous_id", Text, nullable=False, server_default=""),
    Column("quantity", BigInteger, nullable=False),
    Column("amount", Numeric(18, 2), nullable=False),
    _at("at", now=True),
    PrimaryKeyConstraint("app_id", "message_id", "kind", "item"),
    CheckConstraint("kind IN ('viewed', 'bought')", name="kind"),
    Index("ix_item_events_app_id_kind_at", "app_id", "kind", "at"),
    Index("ix_item_events_app_id_user_id_at", "app_id", "user_id", "at"),
    Index("ix_item_events_anonymous", "app_id", "anonymous_id", postgresql_where=text("anonymous_id <> ''")),
)

stale_days = Table(
    "stale_days",
    metadata,
    # A day whose counts no longer agree with its events; the rollup recomputes it whole and takes the mark away.
    _app(),
    Column("day", Date, nullable=False),
    _at("marked_at", now=True),
    PrimaryKeyConstraint("app_id", "day"),
)

daily_counts = Table(
    "daily_counts",
    metadata,
    _app(),
    Column("day", Date, nullable=False),
    Column("metric", Text, nullable=False),
    Column("dimension", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("people", BigInteger, nullable=False, server_default="0"),
    # Dwell: the sum over the views whose time is known, and how many those are. Unknown is never counted as zero.
    Column("seconds", Double, nullable=False, server_default="0"),
    Column("timed", BigInteger, nullable=False, server_default="0"),
    Column("amount", Numeric(18, 2), nullable=False, server_default="0"),
    PrimaryKeyConstraint("app_id", "day", "metric", "dimension"),
)

items = Table(
    "items",
    metadata,
    _app(),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("category", Text, nullable=False, server_default=""),
    Column("price", Numeric(18, 2)),
    Column("currency", Text, nullable=False, server_default=""),
    Column("url", Text, nullable=False, server_default=""),
    Column("people", BigInteger, nullable=False, server_default="0"),
    _at("seen_at", now=True),
    PrimaryKeyConstraint("app_id", "id"),
    Index("ix_items_app_id_people", "app_id", "people"),
)

item_pairs = Table(
    "item_pairs",
    metadata,
    _app(),
    Column("item", Text, nullable=False),
    Column("other", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("together", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    PrimaryKeyConstraint("app_id", "item", "kind", "other"),
)

shown_items = Table(
    "shown_items",
    metadata,
    # What a digest has shown to whom, so that tomorrow's shows something else.
    _app(),
    Column("user_id", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("shown_on", Date, nullable=False),
    PrimaryKeyConstraint("app_id", "user_id", "item"),
)
