"""Changes: one file for each thing that is remembered, one name for each change. Only workers come here."""

from __future__ import annotations

from sqlalchemy import Connection

from backroom.store.write.alerts import AlertChanges
from backroom.store.write.events import EventChanges
from backroom.store.write.inbox import InboxChanges
from backroom.store.write.insights import InsightChanges
from backroom.store.write.notifications import NotificationChanges
from backroom.store.write.recommendations import RecommendationChanges
from backroom.store.write.records import RecordChanges
from backroom.store.write.sessions import SessionChanges
from backroom.store.write.users import UserChanges


class Writer:
    """All changes of one application.

    Args:
        connection: In a transaction that was opened for the application.
        app: The application's id.
    """

    def __init__(self, connection: Connection, *, app: str) -> None:
        self.users = UserChanges(connection, app)
        self.notifications = NotificationChanges(connection, app)
        self.inbox = InboxChanges(connection, app)
        self.alerts = AlertChanges(connection, app)
        self.events = EventChanges(connection, app)
        self.records = RecordChanges(connection, app)
        self.sessions = SessionChanges(connection, app)
        self.insights = InsightChanges(connection, app)
        self.recommendations = RecommendationChanges(connection, app)
