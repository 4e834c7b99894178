"""Segments: any rule selects exactly whom it describes, never fails, and takes the plan that it takes."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.struct_pb2 import ListValue, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from chassis.database import Database
from chassis.errors import InvalidRequest, NotFound, PermissionDenied
from chassis.identifiers import new_id
from flownurture.contacts.v1 import segments_pb2 as pb
from flownurture.contacts.v1 import tags_pb2
from services.contacts.custom_fields import CustomField, FieldType, read_fields
from services.contacts.rule_sql import ANY_CAMPAIGN, condition
from services.contacts.rules import DEEPEST, OPERATORS, Kind, Operator, kept, kept_rule, parse_rule
from services.contacts.tables import contacts, engagements, lists, memberships, taggings, tags
from services.contacts.tests.tenant import Tenant

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
LISTS = [uuid4() for _ in range(3)]
TAGS = [uuid4() for _ in range(3)]
CAMPAIGNS = [uuid4() for _ in range(2)]
STATUSES = ["subscribed", "unsubscribed", "bounced", "complained"]
CHOICES = ["red", "green", "blue"]
WORDS = [
    "",
    "ada",
    "Ada",
    "ÉMILE",
    "émile",
    "Straße",
    "O'Neil",
    "100%",
    "a_b",
    "back\\slash",
    "漢字",
    "ΣΟΦΊΑ",
]
ZONES = ["", "UTC", "Europe/Berlin", "America/New_York"]
DAYS = [NOW.date() + timedelta(days=days) for days in (-40_000, -400, -31, -30, -1, 0, 1, 7, 400)]
MOMENTS = [NOW - timedelta(days=days, seconds=offset) for days in (0, 1, 7, 30, 400) for offset in (-1, 0, 1)]
NUMBERS = [-1e300, -2.5, -1.0, 0.0, 0.1, 1.0, 3.0, 1e15, 1.7976931348623157e308]
CUSTOM = {
    "city": FieldType.TEXT,
    "score": FieldType.NUMBER,
    "vip": FieldType.BOOLEAN,
    "born": FieldType.DATE,
    "color": FieldType.CHOICE,
}
FIELD_KINDS = {
    "email": Kind.TEXT,
    "first_name": Kind.TEXT,
    "last_name": Kind.TEXT,
    "status": Kind.CHOICE,
    "created_at": Kind.MOMENT,
    "updated_at": Kind.MOMENT,
    "time_zone": Kind.TEXT,
}


@dataclass
class Somebody:
    """A contact as plain Python knows it."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    status: str
    created_at: datetime
    updated_at: datetime
    time_zone: str
    custom: dict[str, Any] = field(default_factory=dict)
    lists: set[UUID] = field(default_factory=set)
    tags: set[UUID] = field(default_factory=set)
    # By kind and campaign: when last.
    engaged: dict[tuple[str, UUID], datetime] = field(default_factory=dict)


def somebody(chance: random.Random, number: int) -> Somebody:
    engaged = {}
    for kind in ("received", "opened", "clicked", "bounced"):
        for campaign in CAMPAIGNS:
            if chance.random() < 0.3:
                engaged[kind, campaign] = chance.choice(MOMENTS)
        times = [moment for (of, _), moment in engaged.items() if of == kind]
        if times:
            engaged[kind, ANY_CAMPAIGN] = max(times)
    values = {
        "city": chance.choice(WORDS[1:]),
        "score": chance.choice(NUMBERS),
        "vip": chance.choice([True, False]),
        "born": chance.choice(DAYS).isoformat(),
        "color": chance.choice(CHOICES),
    }
    return Somebody(
        new_id(),
        f"{chance.choice(['ada', 'Bob', 'c.d+e'])}{number}@{chance.choice(['example.com', 'Sub.example.org'])}",
        chance.choice(WORDS),
        chance.choice(WORDS),
        chance.choice(STATUSES),
        chance.choice(MOMENTS),
        chance.choice(MOMENTS),
        chance.choice(ZONES),
        {key: value for key, value in values.items() if chance.random() < 0.7},
        {each for each in LISTS if chance.random() < 0.4},
        {each for each in TAGS if chance.random() < 0.4},
        engaged,
    )


def fits(document: dict[str, Any], person: Somebody) -> bool:  # noqa: PLR0911 - one for each kind
    """The rule in plain Python."""
    ((member, content),) = document.items()
    if member == "all":
        return all(fits(inner, person) for inner in content)
    if member == "any":
        return any(fits(inner, person) for inner in content)
    if member == "not":
        return not fits(content, person)
    if member == "list":
        return UUID(content["list_id"]) in person.lists
    if member == "tag":
        return UUID(content["tag_id"]) in person.tags
    if member == "engagement":
        campaign = UUID(content["campaign_id"]) if content.get("campaign_id") else ANY_CAMPAIGN
        last = person.engaged.get((content["event"], campaign))
        days = content.get("within_days", 0)
        return last is not None and (not days or last >= NOW - timedelta(days=days))
    if member == "field":
        value = getattr(person, content["name"])
        return holds(FIELD_KINDS[content["name"]], content, None if value == "" else value)
    return holds(Kind(CUSTOM[content["key"]].value), content, person.custom.get(content["key"]))


def holds(kind: Kind, content: dict[str, Any], value: Any) -> bool:
    operator: str = content["operator"]
    operand: Any = content.get("value")
    if operator == "is_set":
        return value is not None
    if operator == "is_not_set":
        return value is None
    if value is None:
        return operator == "not_equals"
    if kind is Kind.TEXT:
        value = value.lower()
        operand = [each.lower() for each in operand] if operator == "one_of" else operand.lower()
    if kind is Kind.DATE:
        value = date.fromisoformat(value)
    if kind is Kind.MOMENT and operator in ("in_last_days", "more_than_days_ago"):
        since = NOW - timedelta(days=operand)
        return bool(value >= since) if operator == "in_last_days" else bool(value < since)
    if kind is Kind.MOMENT:
        value = value.date()
    if kind in (Kind.DATE, Kind.MOMENT) and isinstance(operand, str):
        operand = date.fromisoformat(operand)
    return PLAIN[operator](value, operand)


def today() -> date:
    return NOW.date()


PLAIN: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda value, operand: value == operand,
    "not_equals": lambda value, operand: value != operand,
    "one_of": lambda value, operand: value in operand,
    "contains": lambda value, operand: operand in value,
    "starts_with": lambda value, operand: value.startswith(operand),
    "ends_with": lambda value, operand: value.endswith(operand),
    "less_than": lambda value, operand: value < operand,
    "at_most": lambda value, operand: value <= operand,
    "greater_than": lambda value, operand: value > operand,
    "at_least": lambda value, operand: value >= operand,
    "before": lambda value, operand: value < operand,
    "after": lambda value, operand: value > operand,
    "on": lambda value, operand: value == operand,
    "in_last_days": lambda value, operand: today() - timedelta(days=operand) <= value <= today(),
    "in_next_days": lambda value, operand: today() <= value <= today() + timedelta(days=operand),
    "more_than_days_ago": lambda value, operand: value < today() - timedelta(days=operand),
}

OPERANDS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.sampled_from([word for word in WORDS if word] + ["a", "@", "%", "_", "\\", "'", "example"])
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=5),
    Kind.NUMBER: st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False),
    Kind.BOOLEAN: st.booleans(),
    Kind.DATE: (st.sampled_from(DAYS) | st.dates()).map(date.isoformat),
    Kind.MOMENT: (st.sampled_from(DAYS) | st.dates()).map(date.isoformat),
    Kind.CHOICE: st.sampled_from(CHOICES),
}
DAY_COUNTS = st.sampled_from([0, 1, 7, 30, 31, 400, 36_500])


@st.composite
def comparisons(draw: st.DrawFn, kind: Kind, operands: st.SearchStrategy[Any]) -> dict[str, Any]:
    operator = draw(st.sampled_from(OPERATORS[kind]))
    compared: dict[str, Any] = {"operator": operator.value}
    if operator in (Operator.IN_LAST_DAYS, Operator.IN_NEXT_DAYS, Operator.MORE_THAN_DAYS_AGO):
        compared["value"] = draw(DAY_COUNTS)
    elif operator is Operator.ONE_OF:
        compared["value"] = draw(st.lists(operands, min_size=1, max_size=4))
    elif operator not in (Operator.IS_SET, Operator.IS_NOT_SET):
        compared["value"] = draw(operands)
    return compared


@st.composite
def field_conditions(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(FIELD_KINDS)))
    operands = st.sampled_from(STATUSES) if name == "status" else OPERANDS[FIELD_KINDS[name]]
    return {"field": {"name": name, **draw(comparisons(FIELD_KINDS[name], operands))}}


@st.composite
def custom_conditions(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.sampled_from(sorted(CUSTOM)))
    kind = Kind(CUSTOM[key].value)
    return {"custom_field": {"key": key, **draw(comparisons(kind, OPERANDS[kind]))}}


ENGAGEMENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["received", "opened", "clicked", "bounced"])},
    optional={"within_days": DAY_COUNTS, "campaign_id": st.sampled_from(CAMPAIGNS).map(str)},
).map(lambda content: {"engagement": content})
CONDITIONS = (
    field_conditions()
    | custom_conditions()
    | st.sampled_from(LISTS).map(lambda id_: {"list": {"list_id": str(id_)}})
    | st.sampled_from(TAGS).map(lambda id_: {"tag": {"tag_id": str(id_)}})
    | ENGAGEMENTS
)


def rules(depth: int = 1) -> st.SearchStrategy[dict[str, Any]]:
    if depth == DEEPEST:
        return CONDITIONS
    inner = st.deferred(lambda: rules(depth + 1))
    some = st.lists(inner, min_size=1, max_size=3)
    return (
        CONDITIONS
        | some.map(lambda members: {"all": members})
        | some.map(lambda members: {"any": members})
        | inner.map(lambda member: {"not": member})
    )


@dataclass
class Crowd:
    """An organization with everybody in it."""

    tenant: Tenant
    database: Database
    people: list[Somebody]
    fields: dict[str, CustomField]

    async def selected(self, document: dict[str, Any]) -> set[UUID]:
        """Whom the rule selects in SQL: as it is written, and as it is kept."""
        written = parse_rule(document, self.fields)
        assert kept_rule(kept(document, self.fields), self.fields) == written
        async with self.database.tenant_transaction(self.tenant.context, read_only=True) as session:
            found = await session.execute(select(contacts.c.id).where(condition(written, NOW)))
            return set(found.scalars())


@pytest.fixture
async def crowd(tenant: Tenant, database: Database) -> Crowd:
    for key, kind in CUSTOM.items():
        await tenant.declare(key, kind.value, *(CHOICES if kind is FieldType.CHOICE else []))
    people = [somebody(random.Random(number), number) for number in range(200)]
    async with database.tenant_transaction(tenant.context) as session:
        fields = await read_fields(session)
        for list_id in LISTS:
            await session.execute(lists.insert().values(id=list_id, name="L"))
        for tag_id in TAGS:
            await session.execute(tags.insert().values(id=tag_id, name="T", folded_name=str(tag_id)))
        for person in people:
            await session.execute(
                contacts.insert().values(
                    id=person.id,
                    email=person.email,
                    email_digest=person.id.bytes * 2,
                    first_name=person.first_name,
                    last_name=person.last_name,
                    status=person.status,
                    created_at=person.created_at,
                    updated_at=person.updated_at,
                    time_zone=person.time_zone,
                    custom_fields={str(fields[key].number): value for key, value in person.custom.items()},
                )
            )
            for list_id in person.lists:
                await session.execute(
                    memberships.insert().values(list_id=list_id, contact_id=person.id, source="api")
                )
            for tag_id in person.tags:
                await session.execute(
                    taggings.insert().values(tag_id=tag_id, contact_id=person.id, source="api")
                )
            for (event, campaign), moment in person.engaged.items():
                await session.execute(
                    engagements.insert().values(
                        kind=event, campaign_id=campaign, contact_id=person.id, last_at=moment
                    )
                )
    return Crowd(tenant, database, people, fields)


async def test_any_rule_selects_exactly_whom_plain_python_selects(crowd: Crowd) -> None:
    told: list[dict[str, Any]] = []

    # Hypothesis draws, and the event loop that the database belongs to runs the checks.
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rules())
    def draw(document: dict[str, Any]) -> None:
        told.append(document)

    draw()
    for document in told:
        expected = {person.id for person in crowd.people if fits(document, person)}
        assert await crowd.selected(document) == expected, document


async def test_a_condition_on_a_field_that_was_deleted_fits_nobody_and_breaks_nothing(crowd: Crowd) -> None:
    document = {"custom_field": {"key": "score", "operator": "at_least", "value": 0.0}}
    segment = kept(document, crowd.fields)
    assert await crowd.selected(document)
    await crowd.tenant.execute("UPDATE custom_fields SET deleted_at = now() WHERE key = 'score'")
    # Another field of the same key is another field.
    await crowd.tenant.declare("score", "text")
    async with crowd.database.tenant_transaction(crowd.tenant.context) as session:
        rule = kept_rule(segment, await read_fields(session))
        assert (await session.execute(select(contacts.c.id).where(condition(rule, NOW)))).all() == []


def number(value: float) -> Value:
    return Value(number_value=value)


def words(value: str) -> Value:
    return Value(string_value=value)


def email(operator: "pb.Operator.ValueType", value: Value | None = None) -> pb.Rule:
    return pb.Rule(field=pb.FieldCondition(name=pb.CONTACT_FIELD_EMAIL, operator=operator, value=value))


def custom(key: str, operator: "pb.Operator.ValueType", value: Value | None = None) -> pb.Rule:
    return pb.Rule(custom_field=pb.CustomFieldCondition(key=key, operator=operator, value=value))


ADA = email(pb.OPERATOR_CONTAINS, words("ada"))
OPENED = pb.Rule(engagement=pb.EngagementCondition(event=pb.ENGAGEMENT_OPENED, within_days=30))
RECENT = pb.Rule(
    field=pb.FieldCondition(
        name=pb.CONTACT_FIELD_CREATED_AT, operator=pb.OPERATOR_IN_LAST_DAYS, value=number(7)
    )
)


def negated(rule: pb.Rule) -> pb.Rule:
    outer = pb.Rule()
    getattr(outer, "not").CopyFrom(rule)
    return outer


def nested(rule: pb.Rule, levels: int) -> pb.Rule:
    for _ in range(levels):
        rule = pb.Rule(all=[rule])
    return rule


async def test_a_segment_is_kept_as_it_was_written_and_is_live(tenant: Tenant) -> None:
    rule = pb.Rule(
        any=[
            ADA,
            negated(OPENED),
            email(pb.OPERATOR_ONE_OF, Value(list_value=ListValue(values=[words("x")]))),
        ]
    )
    made = await tenant(pb.CreateSegmentRequest(name="Adas", description="Of all sorts", rule=rule))
    assert made.rule == rule
    assert await tenant(pb.GetSegmentRequest(segment_id=made.id)) == made
    assert list((await tenant(pb.ListSegmentsRequest())).segments) == [made]
    assert not (await tenant(pb.ListSegmentContactsRequest(segment_id=made.id))).contacts
    ada = await tenant.add("ada@example.com")
    assert list((await tenant(pb.ListSegmentContactsRequest(segment_id=made.id))).contacts) == [ada]
    changed = await tenant(pb.UpdateSegmentRequest(segment_id=made.id, name="Nobody", rule=negated(ADA)))
    assert (changed.name, changed.description, changed.rule) == ("Nobody", "Of all sorts", negated(ADA))
    assert not (await tenant(pb.ListSegmentContactsRequest(segment_id=made.id))).contacts
    await tenant(pb.DeleteSegmentRequest(segment_id=made.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetSegmentRequest(segment_id=made.id))


async def test_a_preview_counts_all_and_shows_the_newest(tenant: Tenant) -> None:
    for place in range(5):
        await tenant.add(f"ada{place}@example.com")
    await tenant.add("bob@example.com")
    shown = await tenant(pb.PreviewSegmentRequest(rule=ADA, sample_size=2))
    assert shown.count == 5
    assert [contact.email for contact in shown.sample] == ["ada4@example.com", "ada3@example.com"]
    assert await tenant.count("segments") == 0


@pytest.mark.parametrize(
    ("rule", "field_", "says"),
    [
        (pb.Rule(), "rule", "must have exactly one of all, any, not, field"),
        (pb.Rule(all=[ADA], any=[ADA]), "rule", "must have exactly one of"),
        (pb.Rule(all=[ADA, pb.Rule()]), "rule.all[1]", "must have exactly one of"),
        (negated(pb.Rule(any=[pb.Rule()])), "rule.not.any[0]", "must have exactly one of"),
        (nested(ADA, DEEPEST), "rule.all[0].all[0].all[0].all[0].all", "is nested too deeply"),
        (pb.Rule(all=[pb.Rule(any=[ADA] * 51)] * 2), "rule", "must have at most 100 conditions, and has 102"),
        (
            email(pb.OPERATOR_LESS_THAN, number(1)),
            "rule.field.operator",
            "does not go with a text: use one of equals",
        ),
        (email(pb.OPERATOR_EQUALS), "rule.field.value", "must be a text that is not empty"),
        (email(pb.OPERATOR_EQUALS, number(3)), "rule.field.value", "must be a text that is not empty"),
        (email(pb.OPERATOR_EQUALS, words("a\0")), "rule.field.value", "must not contain control characters"),
        (
            email(pb.OPERATOR_EQUALS, words("x" * 1001)),
            "rule.field.value",
            "must be at most 1,000 characters",
        ),
        (email(pb.OPERATOR_ONE_OF, words("a")), "rule.field.value", "must be a list of 1 to 100 values"),
        (email(pb.OPERATOR_IS_SET, words("a")), "rule.field.value", "must not be given with is_set"),
        (custom("none", pb.OPERATOR_IS_SET), "rule.custom_field.key", "is not a declared custom field"),
        (custom("score", pb.OPERATOR_EQUALS, words("1")), "rule.custom_field.value", "must be a number"),
        (
            custom("born", pb.OPERATOR_ON, words("31.1.2026")),
            "rule.custom_field.value",
            "must be a date such as",
        ),
        (
            custom("born", pb.OPERATOR_ON, words("2026-02-30")),
            "rule.custom_field.value",
            "must be a date such as",
        ),
        (
            custom("born", pb.OPERATOR_IN_LAST_DAYS, number(0.5)),
            "rule.custom_field.value",
            "a whole number of days",
        ),
        (
            custom("born", pb.OPERATOR_IN_LAST_DAYS, number(1e9)),
            "rule.custom_field.value",
            "must be 0 to 36,500 days",
        ),
        (
            custom("color", pb.OPERATOR_EQUALS, words("pink")),
            "rule.custom_field.value",
            "must be one of: red, green",
        ),
        (custom("vip", pb.OPERATOR_EQUALS, words("yes")), "rule.custom_field.value", "must be true or false"),
    ],
)
async def test_a_malformed_rule_is_refused_where_it_is_wrong(
    tenant: Tenant, rule: pb.Rule, field_: str, says: str
) -> None:
    for key, kind in CUSTOM.items():
        await tenant.declare(key, kind.value, *(CHOICES if kind is FieldType.CHOICE else []))
    for request in (pb.PreviewSegmentRequest(rule=rule), pb.CreateSegmentRequest(name="S", rule=rule)):
        with pytest.raises(InvalidRequest) as refused:
            await tenant(request)
        (violation,) = refused.value.violations
        assert violation.field == field_
        assert says in violation.message
    assert await tenant.count("segments") == 0


@pytest.mark.parametrize(
    ("rule", "advanced"),
    [
        (ADA, False),
        (negated(ADA), False),
        (pb.Rule(all=[ADA, negated(ADA)]), False),
        (pb.Rule(any=[ADA, ADA]), False),
        (pb.Rule(all=[pb.Rule(any=[ADA])]), True),
        (negated(pb.Rule(all=[ADA])), True),
        (negated(negated(ADA)), True),
        (pb.Rule(all=[negated(pb.Rule(any=[ADA]))]), True),
        (OPENED, True),
        (pb.Rule(all=[ADA, negated(OPENED)]), True),
        (RECENT, True),
    ],
)
async def test_what_is_advanced_takes_the_plan_that_has_it(
    tenant: Tenant, rule: pb.Rule, advanced: bool
) -> None:
    made = await tenant(pb.CreateSegmentRequest(name="S", rule=rule))
    tenant.context = replace(tenant.context, features=frozenset())
    requests = [
        pb.PreviewSegmentRequest(rule=rule),
        pb.CreateSegmentRequest(name="S", rule=rule),
        pb.UpdateSegmentRequest(segment_id=made.id, rule=rule),
        pb.ListSegmentContactsRequest(segment_id=made.id),
    ]
    for request in requests:
        if advanced:
            with pytest.raises(PermissionDenied) as refused:
                await tenant(request)
            assert refused.value.reason == "PLAN_UPGRADE_REQUIRED"
        else:
            await tenant(request)


async def test_a_rule_names_only_what_its_organization_has(tenant: Tenant, stranger: Tenant) -> None:
    theirs = await stranger.add_list()
    await stranger.add("x@example.com", tags=["vip"])
    tag_id = (await stranger(tags_pb2.ListTagsRequest())).tags[0].id
    for foreign in (
        pb.Rule(list=pb.ListCondition(list_id=theirs.id)),
        pb.Rule(tag=pb.TagCondition(tag_id=tag_id)),
        negated(pb.Rule(any=[pb.Rule(list=pb.ListCondition(list_id=str(new_id())))])),
    ):
        for request in (
            pb.PreviewSegmentRequest(rule=foreign),
            pb.CreateSegmentRequest(name="S", rule=foreign),
        ):
            with pytest.raises(NotFound):
                await tenant(request)
