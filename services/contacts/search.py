"""Contacts by what is asked for: an address, a status, a list, a tag, a piece of text; in one order or another, in pages."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, exists, func, literal, or_, tuple_

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from services.contacts.contact_rows import SELECT_CONTACTS, Contact
from services.contacts.lists import require_lists
from services.contacts.statuses import Status
from services.contacts.tables import contacts, memberships, taggings
from services.contacts.tags import require_tags


@dataclass(frozen=True, slots=True)
class _Order:
    """A column to sort by, beside the id that tells equals apart, and how the column's value is kept in a page token."""

    column: ColumnElement[Any]
    descending: bool
    value_of: Callable[[Contact], str]
    parse: Callable[[str], object]


class Sort(Enum):
    """In which order contacts come."""

    NEWEST = _Order(contacts.c.id, True, lambda contact: "", str)
    OLDEST = _Order(contacts.c.id, False, lambda contact: "", str)
    EMAIL = _Order(contacts.c.email, False, lambda contact: contact.email, str)
    EMAIL_DESCENDING = _Order(contacts.c.email, True, lambda contact: contact.email, str)
    LAST_CHANGED = _Order(
        contacts.c.updated_at, True, lambda contact: contact.updated_at.isoformat(), datetime.fromisoformat
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What contacts must be like; None asks for nothing."""

    email: EmailAddress | None = None
    status: Status | None = None
    search: str = ""
    list_id: UUID | None = None
    tag_id: UUID | None = None


async def page_contacts(
    session: TenantSession, wanted: Wanted, sort: Sort, *, token: str, size: int
) -> tuple[list[Contact], str]:
    """Up to `size` contacts behind the page that `token` came with, and the token of the next page, "" behind the last.

    Raises NotFound for a list or tag that does not exist, InvalidRequest for a token of another order.
    """
    await _require(session, wanted)
    order = sort.value
    statement = SELECT_CONTACTS.where(*_conditions(wanted)).limit(size + 1)
    keys = [contacts.c.id] if order.column is contacts.c.id else [order.column, contacts.c.id]
    statement = statement.order_by(*(key.desc() if order.descending else key for key in keys))
    if token:
        last = tuple_(*_last_seen(sort, token)[-len(keys) :])
        statement = statement.where(tuple_(*keys) < last if order.descending else tuple_(*keys) > last)
    found = [Contact(**row) for row in (await session.execute(statement)).mappings()]
    return found[:size], _token(sort, found[size - 1]) if len(found) > size else ""


async def _require(session: TenantSession, wanted: Wanted) -> None:
    if wanted.list_id is not None:
        await require_lists(session, [wanted.list_id])
    if wanted.tag_id is not None:
        await require_tags(session, [wanted.tag_id])


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.email is not None:
        conditions.append(contacts.c.email_digest == wanted.email.digest)
    if wanted.status is not None:
        conditions.append(contacts.c.status == wanted.status.value)
    if wanted.search:
        sought = func.lower(wanted.search)
        conditions.append(
            or_(
                *(
                    func.strpos(func.lower(column), sought) > 0
                    for column in (contacts.c.email, contacts.c.first_name, contacts.c.last_name)
                )
            )
        )
    if wanted.list_id is not None:
        conditions.append(
            exists().where(
                memberships.c.organization_id == contacts.c.organization_id,
                memberships.c.contact_id == contacts.c.id,
                memberships.c.list_id == wanted.list_id,
            )
        )
    if wanted.tag_id is not None:
        conditions.append(
            exists().where(
                taggings.c.organization_id == contacts.c.organization_id,
                taggings.c.contact_id == contacts.c.id,
                taggings.c.tag_id == wanted.tag_id,
            )
        )
    return conditions


def _token(sort: Sort, last: Contact) -> str:
    content = orjson.dumps([sort.name, sort.value.value_of(last), str(last.id)])
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _last_seen(sort: Sort, token: str) -> list[ColumnElement[Any]]:
    """The sort column's value and the id behind which a page begins. Raises InvalidRequest for what is no token of this sort."""
    try:
        name, value, last_id = orjson.loads(urlsafe_b64decode(token + "=="))
        if name == sort.name:
            order = sort.value
            return [
                literal(order.parse(value), order.column.type),
                literal(UUID(last_id), contacts.c.id.type),
            ]
    except (ValueError, TypeError):
        pass
    raise InvalidRequest(
        FieldViolation("page_token", "is not a token that a list in this order answered with")
    )
