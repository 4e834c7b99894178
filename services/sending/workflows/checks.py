"""Whether a document may be kept: all that is wrong with it, and with what it names, told at once."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol
from uuid import UUID

from sqlalchemy import select

from chassis.context import RequestContext
from chassis.contract.bounds import MOST_VIOLATIONS
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest, PermissionDenied
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import workflow_contacts_pb2 as contacts_pb
from flownurture.contacts.v1.segments_pb2 import CONTACT_FIELD_FIRST_NAME, CONTACT_FIELD_LAST_NAME
from flownurture.contacts.v1.workflow_contacts_pb2_grpc import WorkflowContactServiceStub
from flownurture.identity.v1 import team_pb2 as team_pb
from flownurture.identity.v1.team_pb2_grpc import MemberDirectoryServiceStub
from flownurture.sending.v1 import workflows_pb2 as pb
from flownurture.webhooks.v1 import directory_pb2 as webhooks_pb
from flownurture.webhooks.v1.directory_pb2_grpc import WebhookDirectoryServiceStub
from services.sending.tables import campaigns
from services.sending.workflow_mails import check_mails
from services.sending.workflows.parts import parts
from services.sending.workflows.references import Named, Reference, references, rules
from services.sending.workflows.validation import violations

# Less than what a call can carry, which has more to say than the document.
MOST_BYTES = 3_000_000

_FEATURE = "advanced_segments"
_BY_ID = (Named.LIST, Named.TAG, Named.FORM, Named.SEGMENT)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a document and with what it names of contacts, and whether its rules take more than every plan has."""

    violations: Sequence[FieldViolation]
    is_advanced: bool


class Checks(Protocol):
    """Who can tell what is wrong with a document, as far as that can be told outside of a transaction."""

    async def look_at(self, context: RequestContext, document: pb.WorkflowDocument) -> Findings:
        """What is wrong with it. Raises Unavailable."""


class ChecksPeer:
    """By calls to WorkflowContactService, MemberDirectoryService and WebhookDirectoryService."""

    def __init__(self, contacts: Peer, identity: Peer, webhooks: Peer) -> None:
        self._contacts = contacts
        self._identity = identity
        self._webhooks = webhooks

    async def look_at(self, context: RequestContext, document: pb.WorkflowDocument) -> Findings:
        """As `Checks` says."""
        if document.ByteSize() > MOST_BYTES:
            return Findings([FieldViolation("steps", f"must be at most {MOST_BYTES:,} bytes in all")], False)
        caller = RequestContext.of_process("sending", context.organization, request_id=context.request_id)
        answer, *unknown = await asyncio.gather(
            self._contacts.call(
                WorkflowContactServiceStub(self._contacts.channel).CheckReferences,
                contacts_pb.CheckReferencesRequest(things=_things(document)),
                caller,
            ),
            self._unknown_members(caller, document),
            self._unknown_endpoints(caller, document),
        )
        elsewhere = (FieldViolation(wrong.path, wrong.message) for wrong in answer.violations)
        return Findings(
            [*violations(document), *elsewhere, *chain.from_iterable(unknown)], bool(answer.advanced_paths)
        )

    async def _unknown_members(
        self, caller: RequestContext, document: pb.WorkflowDocument
    ) -> list[FieldViolation]:
        named = [each for each in references(document) if each.kind is Named.MEMBER]
        if not named:
            return []
        answer = await self._identity.call(
            MemberDirectoryServiceStub(self._identity.channel).FindMembers,
            team_pb.FindMembersRequest(user_ids=sorted({each.name for each in named})),
            caller,
        )
        members = set(map(UUID, answer.user_ids))
        return [_unknown(each, "a member") for each in named if UUID(each.name) not in members]

    async def _unknown_endpoints(
        self, caller: RequestContext, document: pb.WorkflowDocument
    ) -> list[FieldViolation]:
        named = [each for each in references(document) if each.kind is Named.ENDPOINT]
        if not named:
            return []
        answer = await self._webhooks.call(
            WebhookDirectoryServiceStub(self._webhooks.channel).FindEndpoints,
            webhooks_pb.FindEndpointsRequest(endpoint_ids=sorted({each.name for each in named})),
            caller,
        )
        endpoints = set(map(UUID, answer.endpoint_ids))
        return [_unknown(each, "a webhook endpoint") for each in named if UUID(each.name) not in endpoints]


async def require_good(session: TenantSession, document: pb.WorkflowDocument, found: Findings) -> None:
    """Look at what else it names, campaigns and templates.

    Raises InvalidRequest that names all that is wrong, PermissionDenied (PLAN_UPGRADE_REQUIRED) for rules beyond the plan.
    """
    wrong = [*found.violations, *await _unknown_campaigns(session, document)]
    if not found.violations:
        # Of steps that are well.
        wrong += await check_mails(session, document)
    if wrong:
        raise InvalidRequest(*wrong[:MOST_VIOLATIONS])
    if found.is_advanced and _FEATURE not in session.context.features:
        raise PermissionDenied(
            f"Groups within groups, engagement and relative dates take the plan feature {_FEATURE}.",
            reason="PLAN_UPGRADE_REQUIRED",
        )


def _things(document: pb.WorkflowDocument) -> Iterator[contacts_pb.NamedThing]:
    """What contacts is asked about."""
    for reference in references(document):
        if reference.kind in _BY_ID:
            thing = contacts_pb.NamedThing(path=reference.path)
            setattr(thing, reference.kind.value, reference.name)
            yield thing
    for path, part in parts(document):
        if isinstance(part, pb.DateField):
            yield contacts_pb.NamedThing(path=f"{path}.custom_field", date_field=part.custom_field)
        elif isinstance(part, pb.SetField) and _is_settable(part.field):
            yield contacts_pb.NamedThing(path=path, field_value=_field_value(part))
        elif (
            isinstance(part, pb.FieldReference) and part.custom_field and not path.endswith("set_field.field")
        ):
            yield contacts_pb.NamedThing(path=f"{path}.custom_field", custom_field=part.custom_field)
    for path, rule in rules(document):
        if rule.ListFields():
            yield contacts_pb.NamedThing(path=path, rule=rule)


def _is_settable(field: pb.FieldReference) -> bool:
    return bool(field.custom_field) or field.name in (CONTACT_FIELD_FIRST_NAME, CONTACT_FIELD_LAST_NAME)


def _field_value(change: pb.SetField) -> contacts_pb.FieldValue:
    asked = contacts_pb.FieldValue(value=change.value if change.HasField("value") else None)
    if change.field.WhichOneof("field") == "custom_field":
        asked.custom_field = change.field.custom_field
    else:
        asked.name = change.field.name
    return asked


async def _unknown_campaigns(
    session: TenantSession, document: pb.WorkflowDocument
) -> Iterator[FieldViolation]:
    named = [reference for reference in references(document) if reference.kind is Named.CAMPAIGN]
    known = select(campaigns.c.id).where(campaigns.c.id.in_({UUID(reference.name) for reference in named}))
    there = set((await session.execute(known)).scalars()) if named else set()
    return (_unknown(reference, "a campaign") for reference in named if UUID(reference.name) not in there)


def _unknown(reference: Reference, what: str) -> FieldViolation:
    return FieldViolation(reference.path, f"is not the id of {what}")
