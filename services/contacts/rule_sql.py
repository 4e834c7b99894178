"""A rule as a condition on contacts in SQL: every value a bound parameter, nothing that can raise, and never null."""

import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Float,
    Table,
    Text,
    and_,
    cast,
    collate,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.types import Boolean

from services.contacts.rules import (
    All,
    AnyOf,
    Comparison,
    ContactField,
    Engaged,
    HasTag,
    InList,
    Kind,
    Nobody,
    Not,
    Operator,
    Rule,
)
from services.contacts.tables import contacts, engagements, memberships, taggings

# Under which engagement with any mail at all is kept, whatever its campaign.
ANY_CAMPAIGN = UUID(int=0)

# Full Unicode case mapping, whatever the database's own collation is.
_COLLATION = "pg_unicode_fast"
_DAY = timedelta(days=1)
_SQL_TYPES: dict[Kind, Any] = {
    Kind.NUMBER: Float(53),
    Kind.BOOLEAN: Boolean(),
    Kind.DATE: Date(),
    Kind.MOMENT: DateTime(timezone=True),
}

Value: TypeAlias = ColumnElement[Any]
Condition: TypeAlias = ColumnElement[bool]
# That rows of the table, for which these conditions hold, are a contact's.
Belongs: TypeAlias = Callable[..., Condition]


def condition(rule: Rule, now: datetime) -> Condition:
    """What holds for the contacts that fit the rule at this time, for a look at many contacts."""
    return _translated(rule, now, _belongs)


def probing_condition(rule: Rule, now: datetime) -> Condition:
    """The same, for a look at a few: the work grows with them, whatever there is in the lists that the rule names."""
    return _translated(rule, now, _belongs_by_probe)


def _translated(rule: Rule, now: datetime, belongs: Belongs) -> Condition:  # noqa: PLR0911 - one for each kind of rule
    match rule:
        case All(rules):
            return and_(*(_translated(inner, now, belongs) for inner in rules))
        case AnyOf(rules):
            return or_(*(_translated(inner, now, belongs) for inner in rules))
        case Not(inner):
            return not_(_translated(inner, now, belongs))
        case InList(list_id):
            return belongs(memberships, memberships.c.list_id == list_id)
        case HasTag(tag_id):
            return belongs(taggings, taggings.c.tag_id == tag_id)
        case Engaged():
            return belongs(engagements, *_engaged(rule, now))
        case Comparison():
            return _compared(rule, now)
        case Nobody():
            return false()


def _belongs(table: Table, *to: Condition) -> Condition:
    return exists().where(*_of_contact(table), *to)


def _belongs_by_probe(table: Table, *to: Condition) -> Condition:
    # With an offset PostgreSQL looks it up for each contact. It would else read all rows of the list into a hash table, where it takes
    # them to be few; how many an organization has of its own, it does not know.
    return select(true()).where(*_of_contact(table), *to).offset(0).correlate_except(table).exists()


def _of_contact(table: Table) -> tuple[Condition, Condition]:
    return table.c.organization_id == contacts.c.organization_id, table.c.contact_id == contacts.c.id


def _engaged(engaged: Engaged, now: datetime) -> list[Condition]:
    held = engagements
    wanted = [held.c.kind == engaged.event.value, held.c.campaign_id == (engaged.campaign_id or ANY_CAMPAIGN)]
    if engaged.within_days:
        wanted.append(held.c.last_at >= now - engaged.within_days * _DAY)
    return wanted


def _compared(comparison: Comparison, now: datetime) -> Condition:
    value, is_set = _subject(comparison)
    match comparison.operator:
        case Operator.IS_SET:
            return is_set
        case Operator.IS_NOT_SET:
            return not_(is_set)
        case Operator.NOT_EQUALS:
            return not_(_certain(_equal(comparison.kind, value, comparison.operand)))
        case _:
            return _certain(_holds(comparison, value, now))


def _certain(condition: Condition) -> Condition:
    """False where there is no value to compare: null must not spread to where it would be negated."""
    return func.coalesce(condition, false(), type_=Boolean())


def _subject(comparison: Comparison) -> tuple[Value, Condition]:
    """The value that is compared, and that there is one."""
    if isinstance(comparison.subject, ContactField):
        column = contacts.c[comparison.subject.value]
        return column, column != "" if comparison.kind is Kind.TEXT else column.is_not(None)
    stored: Value = contacts.c.custom_fields.op("->>", return_type=Text())(str(comparison.subject))
    kind = _SQL_TYPES.get(comparison.kind)
    return stored if kind is None else cast(stored, kind), stored.is_not(None)


_ORDER: dict[Operator, Callable[[Value, Any], Any]] = {
    Operator.LESS_THAN: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER_THAN: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.BEFORE: operator.lt,
    Operator.AFTER: operator.gt,
    Operator.ON: operator.eq,
}
_WITHIN_TEXT: dict[Operator, Callable[[Value, Value], Any]] = {
    Operator.CONTAINS: lambda text, sought: func.strpos(text, sought) > 0,
    Operator.STARTS_WITH: lambda text, sought: func.starts_with(text, sought, type_=Boolean()),
    Operator.ENDS_WITH: lambda text, sought: func.right(text, func.length(sought)) == sought,
}


def _holds(comparison: Comparison, value: Value, now: datetime) -> Condition:
    how, operand, kind = comparison.operator, comparison.operand, comparison.kind
    if how is Operator.EQUALS:
        return _equal(kind, value, operand)
    if how is Operator.ONE_OF:
        return or_(*(_equal(kind, value, each) for each in operand))
    if how in _WITHIN_TEXT:
        within: Condition = _WITHIN_TEXT[how](_lower(value), _lower(literal(operand, Text)))
        return within
    if how in _ORDER:
        ordered: Condition = _ORDER[how](_day_of(value) if kind is Kind.MOMENT else value, operand)
        return ordered
    return (
        _moment_near(how, value, operand, now) if kind is Kind.MOMENT else _day_near(how, value, operand, now)
    )


def _moment_near(how: Operator, value: Value, days: int, now: datetime) -> Condition:
    begin = now - days * _DAY
    return value < begin if how is Operator.MORE_THAN_DAYS_AGO else value >= begin


def _day_near(how: Operator, value: Value, days: int, now: datetime) -> Condition:
    today, span = now.date(), days * _DAY
    if how is Operator.IN_LAST_DAYS:
        return and_(value >= today - span, value <= today)
    if how is Operator.IN_NEXT_DAYS:
        return and_(value >= today, value <= today + span)
    return value < today - span


def _equal(kind: Kind, value: Value, operand: object) -> Condition:
    if kind is Kind.TEXT:
        return _lower(value) == _lower(literal(operand, Text))
    return value == operand


def _day_of(moment: Value) -> Value:
    return cast(func.timezone("UTC", moment), Date)


def _lower(text: Value) -> Value:
    return func.lower(collate(text, _COLLATION), type_=Text())
