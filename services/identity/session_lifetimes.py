"""How long sessions live."""

from datetime import timedelta

from sqlalchemy import ColumnElement, func

from services.identity.tables import sessions

# From its beginning, however much it is used.
LIFETIME = timedelta(days=30)
# From its last refresh.
IDLE = timedelta(days=14)


def is_live_session() -> ColumnElement[bool]:
    """Whether a session neither expired nor was left alone for too long."""
    return (sessions.c.expires_at > func.now()) & (sessions.c.last_used_at > func.now() - IDLE)
