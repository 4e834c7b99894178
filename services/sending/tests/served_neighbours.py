"""Neighbours as the contacts service: asked over real gRPC, and reading the orders of workflows from a real bus."""

import json
from uuid import UUID

from chassis.consumer import Consumer, Inbox
from chassis.context import RequestContext
from chassis.database import Database
from chassis.events import EventBus
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from flownurture.workflows.v1.events_pb2 import ChangeContacts
from services.sending.tests.neighbours import Neighbours
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.workflows.people import Absent, Description, Question

_PRESENCE = {Absent.BEHIND: pb.PRESENCE_BEHIND, Absent.UNKNOWN: pb.PRESENCE_UNKNOWN}


class ServedNeighbours(WorkflowContacts):
    """The same people in every organization."""

    def __init__(self, neighbours: Neighbours) -> None:
        super().__init__()
        self._neighbours = neighbours

    async def describe_people(
        self, request: pb.DescribePeopleRequest, context: RequestContext
    ) -> pb.DescribePeopleResponse:
        """Whom there is."""
        questions = [
            Question(
                UUID(bytes=person.contact_id),
                UUID(bytes=person.after_change_id) if person.after_change_id else None,
                person.rules,
            )
            for person in request.people
        ]
        described = await self._neighbours.describe(context, questions, request.rules, request.custom_fields)
        return pb.DescribePeopleResponse(people=map(_told, described))

    def consumer(self, bus: EventBus, database: Database) -> Consumer:
        """What carries out the orders of workflows."""

        async def on_change_contacts(order: ChangeContacts, _: RequestContext, inbox: Inbox) -> None:
            self._neighbours.carry_out(inbox.event_id, order)

        return Consumer(
            bus,
            stream="CONTACT_CHANGES",
            durable="contacts",
            database=database,
            handlers={ChangeContacts: on_change_contacts},
        )


def _told(described: Description) -> pb.PersonDescription:
    if isinstance(described, Absent):
        return pb.PersonDescription(presence=_PRESENCE[described])
    recipient = described.recipient
    return pb.PersonDescription(
        presence=pb.PRESENCE_PRESENT,
        contact_id=recipient.contact_id.bytes,
        email=recipient.email,
        email_digest=recipient.digest,
        first_name=recipient.first_name,
        last_name=recipient.last_name,
        custom_fields=json.dumps(recipient.custom_fields),
        time_zone=described.zone.key if described.zone else "",
        fitting=sorted(described.fitting),
    )
