"""`python -m bench.syncs.engine ORGANIZATION`: of an integrations process what syncs, told by its standard input what to do next.

Orders and answers are JSON, one a line.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

import orjson
import uvloop

from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database
from chassis.process import Process
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.settings import load
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from services.integrations.connecting import Connecting
from services.integrations.connections import get_connection
from services.integrations.credentials import Credentials
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.hubspot import HubSpot
from services.integrations.identity_peer import IdentityPeer
from services.integrations.offers import offers_of
from services.integrations.settings import CrmSettings, IntegrationsSettings
from services.integrations.sync import positions, syncs
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.mapped_fields import MappedField, MappedFields
from services.integrations.sync.merging import Rule
from services.integrations.sync.run import Run, Scene
from services.integrations.sync.syncs import Trigger

_FIELDS = {"firstname": "first_name", "lastname": "last_name", "points": "custom.score"}
_PAGE = 500


@dataclass
class Engine:
    """The parts that a sync takes, of one organization."""

    context: RequestContext
    database: Database
    vault: Vault
    http: HttpClient
    contacts: Contacts
    identity: IdentityPeer

    async def connect(self, url: str) -> Mapping[str, object]:
        """Connect the account that is there."""
        offers = offers_of({"hubspot": CrmSettings(api_url=url)}, self.http)
        connecting = Connecting(self.database, self.vault, offers, self.http, self.identity)
        connection = await connecting.by_key(self.context, "hubspot", Secret("a key"))
        async with self.database.tenant_transaction(self.context) as session:
            await positions.begin(session, connection.id)
        return {"connection": str(connection.id)}

    async def read(self, connection: str) -> Mapping[str, object]:
        """All that the CRM has, by the adapter alone; whoever syncs has to do that, too."""
        crm, fields = await self._account(UUID(connection))
        began = time.monotonic()
        cursor, is_last, number = None, False, 0
        while not is_last:
            page = await crm.changed(cursor, fields.properties, _PAGE)
            cursor, is_last, number = page.cursor, page.is_last, number + len(page.records)
        return _took(began) | {"records_read": number}

    async def sync(self, connection: str) -> Mapping[str, object]:
        """One sync to its end."""
        crm, fields = await self._account(UUID(connection))
        async with self.database.tenant_transaction(self.context) as session:
            row = await syncs.start(session, UUID(connection), Trigger.REQUEST)
            claimed = await syncs.claim(session, row.id)
        if claimed is None:
            raise SystemExit("somebody else syncs")
        lease, _ = claimed
        scene = Scene(UUID(connection), crm, self.contacts, fields, "HubSpot")
        began = time.monotonic()
        await Run(self.database, self.context, lease, scene).go_to_the_end()
        took = _took(began)
        async with self.database.tenant_transaction(self.context) as session:
            await syncs.fence(session, lease)
            ended = await syncs.finish(session, lease)
        return took | {name: getattr(ended, name) for name in syncs.COUNTS}

    async def _account(self, connection_id: UUID) -> tuple[HubSpot, MappedFields]:
        async with self.database.tenant_transaction(self.context, read_only=True) as session:
            connection = await get_connection(session, connection_id)
        access = Credentials(self.database, self.vault, offers_of({}, self.http)).access(
            self.context, connection
        )
        crm = HubSpot(self.http, access)
        theirs = {each.name: each for each in await crm.properties()}
        ours = {each.name: each for each in await self.contacts.fields(self.context)}
        return crm, MappedFields(
            [MappedField(Rule(name), ours[name], theirs[property_]) for property_, name in _FIELDS.items()]
        )


def _took(began: float) -> dict[str, float]:
    return {"seconds": time.monotonic() - began}


async def obey(organization: UUID) -> None:
    """Do what it is told, one after another, until nothing more comes."""
    settings = load(IntegrationsSettings)
    async with Process("integrations", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="integrations"))
        contacts = await process.enter(Peer(settings.contacts_target, "contacts", process.stamper))
        suppression = await process.enter(
            Peer(os.environ["SUPPRESSION_TARGET"], "suppression", process.stamper)
        )
        identity = await process.enter(Peer(settings.identity_target, "identity", process.stamper))
        http = await process.enter(HttpClient())
        context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.ORG_ADMIN,
            organization_id=organization,
            session_id=str(uuid4()),
            request_id=str(uuid4()),
        )
        engine = Engine(
            context,
            database,
            Vault("integrations", wrapping_of(settings)),
            http,
            Contacts(contacts, suppression),
            IdentityPeer(identity),
        )
        # As a process does that serves.
        gc.collect()
        gc.freeze()
        while order := await asyncio.to_thread(sys.stdin.buffer.readline):
            name, *given = orjson.loads(order)
            print(orjson.dumps(await getattr(engine, name)(*given)).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(obey(UUID(sys.argv[1])))
