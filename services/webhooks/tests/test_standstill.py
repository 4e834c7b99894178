"""Of an organization that is to be erased no endpoint hears anything, until that is taken back."""

from dataclasses import replace

from chassis.database import Database, RoleDatabase
from chassis.erasure import Erasures
from chassis.identifiers import new_id
from flownurture.identity.v1.events_pb2 import OrganizationErasureRequested, OrganizationErasureTakenBack
from services.webhooks.consumers import identity_consumer
from services.webhooks.settings import WebhooksSettings
from services.webhooks.tests.house import AloneWith, house
from services.webhooks.tests.receiver import Receiver


async def test_endpoints_hear_nothing_of_an_organization_that_is_to_be_erased_and_all_of_it_when_that_is_taken_back(
    settings: WebhooksSettings, database: Database, scheduler: RoleDatabase, receiver: Receiver
) -> None:
    endpoint_id = new_id()
    erasures = Erasures(database, scheduler, process="webhooks")
    reader = identity_consumer(None, database, erasures)  # type: ignore[arg-type]
    async with house(settings, database, scheduler, AloneWith(endpoint_id)) as built:
        webhooks = replace(built, readers=[*built.readers, reader])
        await webhooks.endpoint(receiver.url, endpoint_id=endpoint_id)
        await webhooks.tell(OrganizationErasureRequested())
        await webhooks.create_contacts(3)
        await webhooks.dispatcher.look()
        await webhooks.dispatcher.settled()
        assert receiver.posts == []
        assert [delivery.attempts for delivery in await webhooks.deliveries()] == [0, 0, 0]
        await webhooks.tell(OrganizationErasureTakenBack())
        await webhooks.dispatcher.look()
        await receiver.wait_for(3)
        await webhooks.dispatcher.settled()
        assert {delivery.status for delivery in await webhooks.deliveries()} == {"delivered"}
