"""Columns that tables of every schema have, as SQLAlchemy Core sees them; a service's `migrations/` makes them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Column, DateTime, FetchedValue, Uuid, func


def organization_id() -> Column[UUID]:
    """The first column of every tenant table. No insert names it: the transaction's organization fills it."""
    return Column("organization_id", Uuid, primary_key=True, server_default=FetchedValue())


def moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    """A time that is now unless an insert says otherwise."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=func.now())
