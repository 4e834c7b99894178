"""Who people are and which rules fit them, as workflows ask: one statement for all of them, however many rules there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Row,
    and_,
    case,
    column,
    func,
    lateral,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from services.contacts.change_orders import is_outstanding
from services.contacts.contact_rows import values_of
from services.contacts.custom_fields import read_fields
from services.contacts.rule_sql import probing_condition
from services.contacts.rules import Document, Rule, excess_of, standing_rule
from services.contacts.sets import rows_of
from services.contacts.tables import contacts


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody who is asked about, by id or by the digest of their address, and by which rules, as indices."""

    contact_id: UUID | None
    email_digest: bytes | None
    # The event that ordered a change after which they are to be described.
    after_change_id: UUID | None
    rules: frozenset[int]


# Whether the change is outstanding (`behind`), what is known of the contact, and which rules fit (`fitting`).
Description = Row[Any]

_DESCRIBED = (
    contacts.c.id,
    contacts.c.email,
    contacts.c.email_digest,
    contacts.c.first_name,
    contacts.c.last_name,
    contacts.c.time_zone,
)
_PLACE: ColumnElement[int] = column("place", Integer)


async def describe(
    session: TenantSession, people: Sequence[Asked], rules: Sequence[Document], keys: Sequence[str] = ()
) -> list[Description | None]:
    """What is known of these people, in their order, with these custom fields; None for who is no contact.

    A condition on what does not exist any more fits nobody. Raises InvalidRequest for more rules than go into one statement.
    """
    fields = await read_fields(session) if rules or keys else {}
    standing = [standing_rule(document, fields) for document in rules]
    if excess := excess_of(standing):
        raise InvalidRequest(FieldViolation("rules", excess))
    known = _known(people, len(rules))
    # A limit makes PostgreSQL look contacts up one by one. It would else read all that the organization has, where it takes them to be few.
    person = lateral(
        select(
            *_DESCRIBED,
            *([values_of(fields, keys)] if keys else []),
            is_outstanding(known.c.after_change_id).label("behind"),
            _fitting(known, standing).label("fitting"),
        )
        .where(contacts.c.id == known.c.contact_id)
        .limit(1)
        .correlate(known),
        "person",
    )
    found = await session.execute(select(known.c.place, *person.c).select_from(known.join(person, true())))
    by_place: Mapping[int, Description] = {row.place: row for row in found}
    return [by_place.get(place) for place in range(len(people))]


def _known(people: Sequence[Asked], rules: int) -> CTE:
    """The people who are asked about: each with their place among them, and an id if they have one."""
    asked = rows_of(
        "asked",
        place=(_PLACE, range(len(people))),
        contact_id=(contacts.c.id, [person.contact_id for person in people]),
        email_digest=(contacts.c.email_digest, [person.email_digest for person in people]),
        after_change_id=(contacts.c.id, [person.after_change_id for person in people]),
        # A byte for each rule: 1 where it is asked about.
        rules=(
            contacts.c.email_digest,
            [bytes(index in person.rules for index in range(rules)) for person in people],
        ),
    )
    holder = contacts.alias("holder")
    by_address = select(holder.c.id).where(holder.c.email_digest == asked.c.email_digest).scalar_subquery()
    return (
        select(
            asked.c.place,
            asked.c.after_change_id,
            asked.c.rules,
            func.coalesce(asked.c.contact_id, by_address).label("contact_id"),
        )
        .cte("known")
        .prefix_with("MATERIALIZED")
    )


def _fitting(known: CTE, rules: Sequence[Rule]) -> ColumnElement[Sequence[int]]:
    """Of a contact: the indices of the rules that fit, of those that are asked about; no other is looked at."""
    if not rules:
        return literal([], ARRAY(Integer))
    now = datetime.now(UTC)
    answers: list[ColumnElement[int]] = [
        case(
            (
                and_(func.get_byte(known.c.rules, index) == 1, probing_condition(rule, now)),
                literal(index),
            )
        )
        for index, rule in enumerate(rules)
    ]
    fitting: ColumnElement[Sequence[int]] = func.array_remove(array(answers), null())
    return fitting
