"""The platform's own domains: one for mails about accounts, and one for those of organizations that have verified none.

They are kept apart, with keys and return paths of their own: what organizations send touches the reputation of the second alone.
"""

from collections.abc import Sequence

from sqlalchemy import func, select, text, update

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.vault.vault import Vault
from services.sending.dkim_keys import KeyPair
from services.sending.domains import Domain, create_domain, get_domain
from services.sending.statuses import DomainStatus
from services.sending.tables import dkim_keys, domains

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('sending.platform_domain', 0))")


async def ensure_platform_domain(
    database: Database, name: str, vault: Vault, pairs: Sequence[KeyPair]
) -> Domain:
    """The domain, made with these keys if it is not there. It counts as verified: whoever runs the platform publishes its records."""
    async with database.tenant_transaction(RequestContext.of_process("sending", PLATFORM)) as session:
        await session.execute(_ONE_AT_A_TIME)
        known = await session.scalar(select(domains.c.id).where(domains.c.name == name))
        if known is not None:
            return await get_domain(session, known)
        made = await create_domain(session, name, vault, pairs)
        await session.execute(
            update(dkim_keys).where(dkim_keys.c.domain_id == made.id).values(found_at=func.now())
        )
        await session.execute(
            update(domains)
            .where(domains.c.id == made.id)
            .values(
                status=DomainStatus.VERIFIED.value, verified_at=func.now(), next_check_at=text("'infinity'")
            )
        )
        return await get_domain(session, made.id)
