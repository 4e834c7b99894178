"""Looks the records of domains up, when somebody asks and by itself."""

import asyncio
from datetime import timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import NotFound
from chassis.scheduler import Scheduler
from services.sending import domains
from services.sending.dkim_keys import Algorithm, KeyPair
from services.sending.dns import Dns, DnsUnavailable
from services.sending.domain_records import Platform, look_up
from services.sending.domains import DOMAINS_TO_CHECK, Domain

_SWEEP = timedelta(seconds=30)


class Verification:
    """Knows the DNS, and the names that tenants' records have to lead to."""

    def __init__(self, database: Database, scheduler: RoleDatabase, dns: Dns, platform: Platform) -> None:
        self.platform = platform
        self._database = database
        self._dns = dns
        self._scheduler = Scheduler(scheduler, DOMAINS_TO_CHECK, _SWEEP, self._check, process="sending")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Look once at every domain that is due; answers how many there were."""
        return await self._scheduler.round()

    async def verify(self, context: RequestContext, domain_id: UUID) -> Domain:
        """Look its records up now. Raises NotFound, DnsUnavailable."""
        async with self._database.tenant_transaction(context, read_only=True) as session:
            domain = await domains.get_domain(session, domain_id)
        records = domain.records(self.platform)
        # No transaction waits for the DNS.
        findings = await look_up(self._dns, domain.name, records, self.platform)
        async with self._database.tenant_transaction(context) as session:
            return await domains.note_findings(session, domain, list(zip(records, findings, strict=True)))

    async def _check(self, context: RequestContext, domain_id: UUID) -> None:
        try:
            await self.verify(context, domain_id)
        except DnsUnavailable:
            async with self._database.tenant_transaction(context) as session:
                await domains.put_off_check(session, domain_id)
        except NotFound:
            # Deleted meanwhile.
            return


async def fresh_keys() -> list[KeyPair]:
    """A key of each kind, made beside the event loop."""
    return list(await asyncio.gather(*(asyncio.to_thread(KeyPair.generate, kind) for kind in Algorithm)))
