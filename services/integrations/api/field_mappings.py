"""FieldMappingService: decode, call the domain, encode."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from google.protobuf import struct_pb2

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from flownurture.integrations.v1 import field_mappings_pb2 as pb
from services.integrations.crm.records import Kind, Property
from services.integrations.mapping_fields import MappingFields
from services.integrations.sync.conversions import names_of
from services.integrations.sync.field_mappings import FieldMapping, mappings_of
from services.integrations.sync.merging import Direction, Holder, Value, Winner
from services.integrations.sync.our_fields import FieldType, OurField
from services.integrations.sync.preview import PreviewedContact, PreviewedValue

# What is told of an account, however much there is in it: some 2 MB at the most.
_MOST_PROPERTIES = 2_000
_MOST_CHOICES = 2_000
_LONGEST_LABEL = 100
_LONGEST_VALUE = 1_000

_DIRECTIONS = {each: pb.FieldDirection.Value(f"FIELD_DIRECTION_{each.name}") for each in Direction}
_RULES = {each: pb.ConflictRule.Value(f"CONFLICT_RULE_{each.name}") for each in Winner}
_FIELD_TYPES = {each: pb.MappableFieldType.Value(f"MAPPABLE_FIELD_TYPE_{each.name}") for each in FieldType}
_PROPERTY_TYPES = {
    each: pb.MappablePropertyType.Value(f"MAPPABLE_PROPERTY_TYPE_{each.name}") for each in Kind
}
_WRITTEN_TO = {
    Holder.NOBODY: pb.WRITTEN_TO_NOBODY,
    Holder.CRM: pb.WRITTEN_TO_US,
    Holder.OURS: pb.WRITTEN_TO_CRM,
}
# What this build does not know yet is what is not given.
_DIRECTION_OF = {value: each for each, value in _DIRECTIONS.items()}
_WINNER_OF = {value: each for each, value in _RULES.items()}


class FieldMappingApi:
    """What connections keep in step."""

    service = pb.DESCRIPTOR.services_by_name["FieldMappingService"]

    def __init__(self, mapping: MappingFields) -> None:
        self._mapping = mapping

    async def get_mappable_fields(
        self, request: pb.GetMappableFieldsRequest, context: RequestContext
    ) -> pb.MappableFields:
        """What there is on both sides; NOT_FOUND, CONFLICT, UNAVAILABLE."""
        there = await self._mapping.mappable(context, parse_id(request.connection_id))
        return pb.MappableFields(
            fields=map(_field_message, there.fields), properties=_property_messages(there.properties)
        )

    async def get_field_mappings(
        self, request: pb.GetFieldMappingsRequest, context: RequestContext, session: TenantSession
    ) -> pb.FieldMappings:
        """The mappings of a connection, or NOT_FOUND."""
        return _as_message((await mappings_of(session, parse_id(request.connection_id))).mappings)

    async def update_field_mappings(
        self, request: pb.UpdateFieldMappingsRequest, context: RequestContext
    ) -> pb.FieldMappings:
        """All of them at once: INVALID for what does not fit, and as for what can be mapped."""
        wanted = _mappings(request.field_mappings)
        return _as_message(await self._mapping.change(context, parse_id(request.connection_id), wanted))

    async def preview_field_mappings(
        self, request: pb.PreviewFieldMappingsRequest, context: RequestContext
    ) -> pb.PreviewFieldMappingsResponse:
        """What a sync would do; as an update answers for what does not fit."""
        connection_id, wanted = parse_id(request.connection_id), _mappings(request.field_mappings)
        found = await self._mapping.preview(context, connection_id, wanted)
        return pb.PreviewFieldMappingsResponse(
            contacts=map(_contact_message, found.contacts), problems=found.problems
        )


def _mappings(given: Iterable[pb.FieldMapping]) -> list[FieldMapping]:
    return [
        FieldMapping(
            each.field,
            each.property,
            _DIRECTION_OF.get(each.direction, Direction.BOTH),
            _WINNER_OF.get(each.conflict_rule, Winner.NEWEST),
        )
        for each in given
    ]


def _as_message(mappings: Sequence[FieldMapping]) -> pb.FieldMappings:
    return pb.FieldMappings(
        field_mappings=(
            pb.FieldMapping(
                field=each.field,
                property=each.property,
                direction=_DIRECTIONS[each.direction],
                conflict_rule=_RULES[each.winner],
            )
            for each in mappings
        )
    )


def _field_message(field: OurField) -> pb.MappableField:
    return pb.MappableField(
        field=field.name, label=field.label, type=_FIELD_TYPES[field.type], choices=field.choices
    )


def _property_messages(properties: Iterable[Property]) -> Iterator[pb.MappableProperty]:
    left = _MOST_CHOICES
    for each in sorted(properties, key=lambda each: each.name)[:_MOST_PROPERTIES]:
        choices = [name[:_LONGEST_LABEL] for name in islice(names_of(each.choices).values(), left)]
        left -= len(choices)
        yield pb.MappableProperty(
            property=each.name,
            label=each.label[:_LONGEST_LABEL],
            type=_PROPERTY_TYPES[each.kind],
            writable=each.is_writable,
            choices=choices,
        )


def _contact_message(contact: PreviewedContact) -> pb.PreviewedContact:
    return pb.PreviewedContact(
        record_id=contact.record.id,
        email=(contact.record.email or "")[:_LONGEST_VALUE],
        contact_id=str(contact.contact_id or ""),
        values=map(_value_message, contact.values),
        problem=contact.problem,
    )


def _value_message(value: PreviewedValue) -> pb.PreviewedValue:
    is_written = value.holder is not Holder.NOBODY
    return pb.PreviewedValue(
        field=value.mapped.rule.field,
        property=value.mapped.property.name,
        crm_value=_any(value.theirs),
        our_value=_any(value.ours),
        written_to=_WRITTEN_TO[value.holder],
        written=_any(value.written) if is_written else None,
        problem=value.problem[:_LONGEST_VALUE],
    )


def _any(value: Value) -> struct_pb2.Value:
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case str():
            return struct_pb2.Value(string_value=value[:_LONGEST_VALUE])
        case _:
            return struct_pb2.Value(number_value=value)
