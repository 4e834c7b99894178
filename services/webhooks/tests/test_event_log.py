from typing import Any

import psycopg

from chassis.database import RoleDatabase
from chassis.retention import Forgetting
from chassis.secret import Secret
from deploy.database.bootstrap import url_in
from services.webhooks.event_log import KEPT
from services.webhooks.tests.house import House
from services.webhooks.tests.receiver import Receiver

AGE = (
    "UPDATE webhooks.events SET received_at = now() - %(age)s::interval WHERE id = %(event)s",
    "UPDATE webhooks.deliveries SET created_at = now() - %(age)s::interval WHERE event_id = %(event)s",
    "UPDATE webhooks.attempts SET attempted_at = now() - %(age)s::interval"
    " WHERE delivery_id IN (SELECT id FROM webhooks.deliveries WHERE event_id = %(event)s)",
)


async def test_what_was_told_is_forgotten_after_a_month_and_not_before(
    servers: Any, webhooks: House, receiver: Receiver, scheduler: RoleDatabase
) -> None:
    await webhooks.endpoint(receiver.url)
    await webhooks.create_contacts()
    await webhooks.create_contacts()
    await receiver.wait_for(2)
    await webhooks.dispatcher.settled()
    old, young = [event.id for event in await webhooks.events()]
    with psycopg.connect(url_in(Secret(servers.admin_database_url), "flownurture").reveal()) as connection:
        for event_id, age in ((old, "31 days"), (young, "29 days")):
            for statement in AGE:
                connection.execute(statement, {"event": event_id, "age": age})
    await Forgetting(scheduler, *KEPT).round()
    assert [event.id for event in await webhooks.events()] == [young]
    (delivery,) = await webhooks.deliveries()
    (attempt,) = await webhooks.attempts()
    assert (delivery.event_id, attempt.delivery_id) == (young, delivery.id)
