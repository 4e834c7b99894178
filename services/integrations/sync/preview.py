"""What a sync would do with some of a CRM's contacts: paired and merged as it does, and nothing written."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.context import RequestContext
from services.integrations.crm import records
from services.integrations.crm.records import Record
from services.integrations.sync.mapped_fields import MappedField, MappedFields
from services.integrations.sync.merging import Holder, Merge, Value
from services.integrations.sync.pairing import Pairing
from services.integrations.sync.settling import Pair

_LEFT_ALONE = "It is left alone: its contact was erased here, or it is archived there."


@dataclass(frozen=True, slots=True)
class PreviewedValue:
    """What both sides have of a field, in terms of ours, and whose value would be written to the other."""

    mapped: MappedField
    theirs: Value
    ours: Value
    holder: Holder
    # Why it would not be, although it ought to be.
    problem: str

    @property
    def written(self) -> Value:
        """What would be; None where nothing is."""
        return {Holder.OURS: self.ours, Holder.CRM: self.theirs, Holder.NOBODY: None}[self.holder]


@dataclass(frozen=True, slots=True)
class PreviewedContact:
    """A record with its contact, if it has one, or why it is not brought in step."""

    record: Record
    contact_id: UUID | None = None
    values: Sequence[PreviewedValue] = ()
    problem: str = ""


async def preview(
    context: RequestContext, pairing: Pairing, fields: MappedFields, found: Sequence[Record]
) -> list[PreviewedContact]:
    """What would become of these records, in their order. Raises Unavailable."""
    paired = await pairing.of_records(context, found)
    pairs = {pair.record.id: pair for pair in paired.pairs if pair.record is not None}
    problems = {problem.record_id: problem.message for problem in paired.problems}
    return [
        _together(fields, record, pairs[record.id])
        if record.id in pairs
        else PreviewedContact(record, problem=problems.get(record.id, _LEFT_ALONE))
        for record in found
    ]


def _together(fields: MappedFields, record: Record, pair: Pair) -> PreviewedContact:
    merge = fields.merged(pair.contact, record, pair.link.agreement if pair.link else None)
    ours = pair.contact.values if pair.contact else {}
    return PreviewedContact(
        record,
        pair.contact.id if pair.contact else None,
        [
            PreviewedValue(
                each,
                _theirs(each, record),
                ours.get(each.rule.field),
                _holder(merge, each.rule.field),
                merge.unfit.get(each.rule.field, ""),
            )
            for each in fields.fields
        ],
    )


def _holder(merge: Merge, field: str) -> Holder:
    if field in merge.to_crm:
        return Holder.OURS
    return Holder.CRM if field in merge.to_ours else Holder.NOBODY


def _theirs(mapped: MappedField, record: Record) -> Value:
    value = record.properties.get(mapped.property.name)
    try:
        return mapped.conversion.ours(value) if mapped.conversion.read else _shown(value)
    except ValueError:
        return _shown(value)


def _shown(value: records.Value) -> Value:
    """What no field of ours has, for people to read."""
    match value:
        case None | bool() | str():
            return value
        case tuple():
            return "; ".join(value)
        case _:
            return str(value)
