"""The contacts process as workflows ask it: who people are now, and which rules fit them."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Protocol, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.contacts.v1.workflow_contacts_pb2_grpc import WorkflowContactServiceStub
from flownurture.sending.v1.workflows_pb2 import DateField
from services.sending.recipients import Recipient, parse_fields

# As many as the contract allows.
MOST_PEOPLE = 1_000
MOST_RULES = 200
# A stream that lasts longer is begun anew.
_MOST_SECONDS = 600.0
# The name of the zone of those whose zone is not known.
_UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Whom is asked about, and which of the rules may fit them, by their places in the list."""

    contact_id: UUID
    # The event that ordered their last change: they are wanted as they are after it.
    after_change_id: UUID | None = None
    rules: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """A contact as mail may speak of them, their zone where it is known, and which of the rules fit."""

    recipient: Recipient
    zone: ZoneInfo | None
    fitting: frozenset[int]


class Absent(Enum):
    """Why somebody is not described."""

    # There is no such contact, or no longer.
    UNKNOWN = "unknown"
    # The change after which they are wanted is not carried out yet.
    BEHIND = "behind"


Description: TypeAlias = Person | Absent


@dataclass(frozen=True, slots=True)
class Occasion:
    """A contact whose day it is, and the digest of their address."""

    contact_id: UUID
    email_digest: bytes


class People(Protocol):
    """Who knows contacts."""

    async def describe(
        self,
        context: RequestContext,
        questions: Sequence[Question],
        rules: Sequence[Rule],
        custom_fields: Iterable[str],
    ) -> Sequence[Description]:
        """Each of at most `MOST_PEOPLE`, by at most `MOST_RULES`, in their order, with these custom fields. Raises Unavailable."""

    def occasions(
        self,
        context: RequestContext,
        wanted: DateField,
        days: Mapping[date, frozenset[str]],
        size: int,
    ) -> AsyncGenerator[Sequence[Occasion], None]:
        """Whose field holds one of the days, by the clocks of its zones: pages of up to `size`. Raises Unavailable."""


class PeoplePeer:
    """By calls to WorkflowContactService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def describe(
        self,
        context: RequestContext,
        questions: Sequence[Question],
        rules: Sequence[Rule],
        custom_fields: Iterable[str],
    ) -> Sequence[Description]:
        """As `People` says."""
        answer = await self._peer.call(
            WorkflowContactServiceStub(self._peer.channel).DescribePeople,
            pb.DescribePeopleRequest(
                people=map(_asked, questions), rules=rules, custom_fields=sorted(custom_fields)
            ),
            RequestContext.of_process("workflows", context.organization, request_id=context.request_id),
        )
        return [_description(described) for described in answer.people]

    async def occasions(
        self,
        context: RequestContext,
        wanted: DateField,
        days: Mapping[date, frozenset[str]],
        size: int,
    ) -> AsyncGenerator[Sequence[Occasion], None]:
        """As `People` says."""
        batches = self._peer.stream(
            WorkflowContactServiceStub(self._peer.channel).StreamOccasions,
            pb.StreamOccasionsRequest(
                custom_field=wanted.custom_field,
                yearly=wanted.yearly,
                days=[_day(day, zones) for day, zones in days.items()],
                batch_size=size,
            ),
            RequestContext.of_process("workflows", context.organization, request_id=context.request_id),
            _MOST_SECONDS,
        )
        async with aclosing(batches):
            async for batch in batches:
                columns = zip(batch.contact_ids, batch.email_digests, strict=True)
                yield [Occasion(UUID(bytes=contact_id), digest) for contact_id, digest in columns]


def _day(day: date, zones: frozenset[str]) -> pb.OccasionDay:
    return pb.OccasionDay(
        day=day.isoformat(), time_zones=sorted(zones - {_UNKNOWN}), without_zone=_UNKNOWN in zones
    )


def _asked(question: Question) -> pb.Person:
    after = question.after_change_id
    return pb.Person(
        contact_id=question.contact_id.bytes,
        after_change_id=after.bytes if after else b"",
        rules=question.rules,
    )


def _description(described: pb.PersonDescription) -> Description:
    if described.presence == pb.PRESENCE_BEHIND:
        return Absent.BEHIND
    if described.presence != pb.PRESENCE_PRESENT:
        return Absent.UNKNOWN
    recipient = Recipient(
        UUID(bytes=described.contact_id),
        described.email,
        described.email_digest,
        described.first_name,
        described.last_name,
        parse_fields(described.custom_fields or "{}"),
    )
    zone = ZoneInfo(described.time_zone) if described.time_zone else None
    return Person(recipient, zone, frozenset(described.fitting))
