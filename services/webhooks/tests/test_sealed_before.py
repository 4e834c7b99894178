"""What endpoints kept sealed before their organizations had data keys: it is read as ever, and sealed again by those."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from os import urandom
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.vault.rotation import Rotation
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen
from services.webhooks.dispatch.targets import Target, Targets
from services.webhooks.endpoint_secrets import SEALED_COLUMNS
from services.webhooks.endpoints import rotate_secret
from services.webhooks.event_types import VERSIONS
from services.webhooks.settings import WebhooksSettings
from services.webhooks.signing import new_secret
from services.webhooks.tables import endpoints

HEADERS = b'[["X-Key", "of-before"]]'


@pytest.fixture
def former() -> Sealer:
    return Sealer("webhooks", {"before": Secret(b64encode(urandom(32)).decode())})


@pytest.fixture
def context() -> RequestContext:
    return RequestContext.of_process("webhooks", uuid4())


async def test_an_endpoint_of_before_is_signed_for_by_its_secret_and_sealed_again(
    settings: WebhooksSettings,
    database: Database,
    scheduler: RoleDatabase,
    former: Sealer,
    context: RequestContext,
) -> None:
    endpoint_id, secret = new_id(), new_secret()
    place: dict[str, Any] = {"table": "endpoints", "row": endpoint_id}
    async with database.tenant_transaction(context) as session:
        await session.execute(
            insert(endpoints).values(
                id=endpoint_id,
                url="https://hooks.example.com/in",
                description="",
                event_types=["*"],
                enabled=True,
                header_names=["X-Key"],
                api_version=VERSIONS[-1],
                message_signatures=False,
                sealed_secret=former.seal(secret.reveal().encode(), **place, column="sealed_secret"),
                headers_sealed=former.seal(HEADERS, **place, column="headers_sealed"),
            )
        )
    wrapping = wrapping_of(settings)

    async def target(vault: Vault) -> Target:
        found = await Targets(database, vault).target(context.organization, endpoint_id)
        assert found is not None
        return found

    during = Vault("webhooks", wrapping, former=former)
    as_before = await target(during)
    assert as_before.secrets == [secret]
    assert as_before.headers == [("X-Key", Secret("of-before"))]

    # Whatever is written in the meantime is sealed by a data key.
    async with database.tenant_transaction(context) as session:
        _, fresh = await rotate_secret(session, during, endpoint_id)
    assert (await target(during)).secrets == [fresh, secret]
    with pytest.raises(DoesNotOpen):
        await target(Vault("webhooks", wrapping))

    remembering_nothing = Vault("webhooks", wrapping, former=former, known_organizations=0)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    rotation = Rotation(
        database,
        scheduler,
        remembering_nothing,
        SEALED_COLUMNS,
        tell=lambda _: None,
        pause=asyncio.sleep,
    )
    await rotation.run(yesterday)
    after = await target(Vault("webhooks", wrapping))
    assert (after.secrets, after.headers) == ([fresh, secret], as_before.headers)
    async with database.tenant_transaction(context) as session:
        row = (await session.execute(select(endpoints))).one()
    with pytest.raises(KeyError):
        former.open(row.headers_sealed, **place, column="headers_sealed")
