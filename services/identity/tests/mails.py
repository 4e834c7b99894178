"""The links in the mails that identity has ordered, as their receivers would find them."""

import re

from sqlalchemy import text

from chassis.database import Database
from services.identity.tests.edge import Person

_ORDERS = text("SELECT envelope FROM outbox ORDER BY id")


async def tokens(database: Database, owner: Person, page: str) -> list[str]:
    """The tokens of all links to a page in the mails of the owner's organization, oldest first."""
    link = re.compile(rf"/account/{page}/([\w-]{{43}})".encode())
    async with database.tenant_transaction(owner.context) as session:
        envelopes = (await session.execute(_ORDERS)).scalars().all()
    return [match[1].decode() for envelope in envelopes if (match := link.search(envelope))]


async def newest(database: Database, owner: Person, page: str) -> str:
    """The token of the newest such link."""
    return (await tokens(database, owner, page))[-1]
