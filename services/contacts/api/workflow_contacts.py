"""WorkflowContactService: decode, call the domain, encode."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from services.contacts import named_things
from services.contacts.api.rules import document_of
from services.contacts.custom_fields import parse_date
from services.contacts.descriptions import Asked, Description, describe
from services.contacts.field_settings import setting_of
from services.contacts.named_things import ById, ByKey, Kind, Thing
from services.contacts.occasions import OccasionDay, stream_occasions

# Of an answer: below what a call takes, with room for one description more.
_MOST_BYTES = 3_000_000


class WorkflowContactApi:
    """What workflows ask of contacts."""

    service = pb.DESCRIPTOR.services_by_name["WorkflowContactService"]

    def __init__(self, database: Database) -> None:
        self._database = database

    async def describe_people(
        self, request: pb.DescribePeopleRequest, context: RequestContext, session: TenantSession
    ) -> pb.DescribePeopleResponse:
        """Who they are, and which rules fit them. INVALID for an index of no rule, and for too many conditions."""
        described = await describe(
            session,
            _asked(request),
            [document_of(rule) for rule in request.rules],
            request.custom_fields,
        )
        return pb.DescribePeopleResponse(people=_as_many_as_fit(map(_description, described)))

    async def check_references(
        self, request: pb.CheckReferencesRequest, context: RequestContext, session: TenantSession
    ) -> pb.CheckReferencesResponse:
        """What of a document's references is wrong. INVALID for a thing that is none."""
        checked = await named_things.check(session, _things(request))
        return pb.CheckReferencesResponse(
            violations=[
                pb.ReferenceViolation(path=wrong.field, message=wrong.message) for wrong in checked.violations
            ],
            advanced_paths=checked.advanced_paths,
        )

    async def stream_occasions(
        self, request: pb.StreamOccasionsRequest, context: RequestContext
    ) -> AsyncIterator[pb.OccasionBatch]:
        """Whose date it is, behind a contact, in batches. INVALID for what is no day."""
        batches = stream_occasions(
            self._database,
            context,
            request.custom_field,
            _days(request.days),
            yearly=request.yearly,
            after=_id(request.after_contact_id),
            size=request.batch_size,
        )
        async for batch in batches:
            yield pb.OccasionBatch(
                contact_ids=[found.id.bytes for found in batch],
                email_digests=[found.email_digest for found in batch],
                days=[found.day.isoformat() for found in batch],
            )


def _days(given: Sequence[pb.OccasionDay]) -> list[OccasionDay]:
    days, found = [], []
    for index, each in enumerate(given):
        zones = frozenset(each.time_zones) | (frozenset([""]) if each.without_zone else frozenset())
        try:
            days.append(OccasionDay(parse_date(each.day), zones))
        except ValueError as error:
            found.append(FieldViolation(f"days[{index}].day", str(error)))
    if found:
        raise InvalidRequest(*found)
    return days


def _asked(request: pb.DescribePeopleRequest) -> list[Asked]:
    found = []
    for index, person in enumerate(request.people):
        if not person.contact_id and not person.email_digest:
            found.append(
                FieldViolation(
                    f"people[{index}].contact_id", "must be given, unless there is an email_digest"
                )
            )
        if max(person.rules, default=-1) >= len(request.rules):
            found.append(FieldViolation(f"people[{index}].rules", "must be indices of the rules"))
    if found:
        raise InvalidRequest(*found)
    return [
        Asked(
            _id(person.contact_id),
            person.email_digest or None,
            _id(person.after_change_id),
            frozenset(person.rules),
        )
        for person in request.people
    ]


def _id(given: bytes) -> UUID | None:
    return UUID(bytes=given) if given else None


def _description(found: Description | None) -> pb.PersonDescription:
    if found is None:
        return pb.PersonDescription(presence=pb.PRESENCE_UNKNOWN)
    if found.behind:
        return pb.PersonDescription(presence=pb.PRESENCE_BEHIND)
    return pb.PersonDescription(
        presence=pb.PRESENCE_PRESENT,
        contact_id=found.id.bytes,
        email=found.email,
        email_digest=found.email_digest,
        first_name=found.first_name,
        last_name=found.last_name,
        custom_fields=getattr(found, "custom_fields", ""),
        time_zone=found.time_zone,
        fitting=found.fitting,
    )


def _as_many_as_fit(descriptions: Iterable[pb.PersonDescription]) -> Iterator[pb.PersonDescription]:
    """The descriptions, as long as there is room in the answer; for the others, that they are to be asked about again."""
    size = 0
    for description in descriptions:
        size += description.ByteSize()
        yield description if size <= _MOST_BYTES else pb.PersonDescription(presence=pb.PRESENCE_BEHIND)


def _things(request: pb.CheckReferencesRequest) -> list[tuple[str, Thing]]:
    return [(named.path, _thing(named, f"things[{index}]")) for index, named in enumerate(request.things)]


def _thing(named: pb.NamedThing, place: str) -> Thing:
    kind = named.WhichOneof("thing")
    if kind == "rule":
        return document_of(named.rule)
    if kind == "field_value":
        value = named.field_value.value if named.field_value.HasField("value") else None
        if setting := setting_of(named.field_value, value):
            return setting
    elif kind is not None:
        return _NAMED[kind](getattr(named, kind))
    raise InvalidRequest(FieldViolation(place, "must name something"))


_NAMED: dict[str, Callable[[str], Thing]] = {
    "list_id": lambda text: ById(Kind.LIST, parse_id(text)),
    "tag_id": lambda text: ById(Kind.TAG, parse_id(text)),
    "form_id": lambda text: ById(Kind.FORM, parse_id(text)),
    "segment_id": lambda text: ById(Kind.SEGMENT, parse_id(text)),
    "custom_field": ByKey,
    "date_field": lambda key: ByKey(key, is_date=True),
}
