"""Questions: one file for each thing that is remembered, one name for each question."""

from __future__ import annotations

from sqlalchemy import Connection

from backroom.store.read.alerts import AlertQuestions
from backroom.store.read.events import EventQuestions
from backroom.store.read.inbox import InboxQuestions
from backroom.store.read.insights import InsightQuestions
from backroom.store.read.logins import LoginQuestions
from backroom.store.read.notifications import NotificationQuestions
from backroom.store.read.recommendations import RecommendationQuestions
from backroom.store.read.records import RecordQuestions
from backroom.store.read.sessions import SessionQuestions
from backroom.store.read.users import UserQuestions


class Reader:
    """All questions of one application. There is no reader without an application.

    Args:
        connection: In a transaction that was opened for the application.
        app: The application's id.
    """

    def __init__(self, connection: Connection, *, app: str) -> None:
        self.users = UserQuestions(connection, app)
        self.notifications = NotificationQuestions(connection, app)
        self.inbox = InboxQuestions(connection, app)
        self.alerts = AlertQuestions(connection, app)
        self.logins = LoginQuestions(connection, app)
        self.events = EventQuestions(connection, app)
        self.records = RecordQuestions(connection, app)
        self.sessions = SessionQuestions(connection, app)
        self.insights = InsightQuestions(connection, app)
        self.recommendations = RecommendationQuestions(connection, app)
