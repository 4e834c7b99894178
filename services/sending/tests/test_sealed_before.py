"""What sending kept sealed before organizations had data keys: mail is signed by it as ever, and it is sealed again."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from os import urandom
from typing import Any

import pytest
from sqlalchemy import select, text, update

from chassis.database import Database, RoleDatabase
from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.vault.rotation import Rotation
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen
from services.sending.delivery.dkim import SigningKey
from services.sending.delivery.senders import Senders
from services.sending.delivery.settings import DeliverySettings
from services.sending.domains import create_domain
from services.sending.sealed_columns import SEALED_COLUMNS
from services.sending.tables import dkim_keys, domains
from services.sending.tests.tenant import Tenant
from services.sending.verification import fresh_keys


@pytest.fixture
def former() -> Sealer:
    return Sealer("sending", {"before": Secret(b64encode(urandom(32)).decode())})


async def test_a_domains_keys_of_before_sign_and_are_sealed_again(
    settings: DeliverySettings,
    database: Database,
    scheduler: RoleDatabase,
    former: Sealer,
    tenant: Tenant,
) -> None:
    wrapping, name = wrapping_of(settings), f"{tenant.context.organization.hex}.example.com"
    async with database.tenant_transaction(tenant.context) as session:
        keyring = await Vault("sending", wrapping).keyring(session)
        await create_domain(session, name, Vault("sending", wrapping), await fresh_keys())
        await session.execute(update(dkim_keys).values(found_at=text("now()")))
        await session.execute(update(domains).values(status="verified", verified_at=text("now()")))
        for row in await session.execute(select(dkim_keys.c.id, dkim_keys.c.sealed_key)):
            place: dict[str, Any] = {"table": "dkim_keys", "row": row.id, "column": "sealed_key"}
            as_before = former.seal(keyring.open_bytes(row.sealed_key, **place).reveal(), **place)
            await session.execute(
                update(dkim_keys).where(dkim_keys.c.id == row.id).values(sealed_key=as_before)
            )

    async def keys(vault: Vault) -> list[SigningKey]:
        senders = Senders(
            database, vault, shared_domain=settings.shared_domain, hostname=settings.mail_hostname
        )
        async with database.tenant_transaction(tenant.context) as session:
            return list((await senders.identity(session, "News", f"news@{name}")).keys)

    during = Vault("sending", wrapping, former=former)
    selectors = [key.selector for key in await keys(during)]
    assert len(selectors) == 2
    with pytest.raises(DoesNotOpen):
        await keys(Vault("sending", wrapping))

    remembering_nothing = Vault("sending", wrapping, former=former, known_organizations=0)
    rotation = Rotation(
        database,
        scheduler,
        remembering_nothing,
        SEALED_COLUMNS,
        tell=lambda _: None,
        pause=asyncio.sleep,
    )
    await rotation.run(datetime.now(UTC) - timedelta(days=1))
    assert [key.selector for key in await keys(Vault("sending", wrapping))] == selectors
