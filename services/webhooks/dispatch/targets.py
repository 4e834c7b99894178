"""An endpoint as its lane needs it: where to post, with which headers, signed by which keys."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import select, text

from chassis.context import RequestContext
from chassis.database import Database
from chassis.secret import Secret
from chassis.standstill import STANDS_STILL
from chassis.vault.keyring import Keyring
from chassis.vault.vault import Vault
from services.webhooks.endpoint_secrets import opened_headers, opened_secrets
from services.webhooks.signing import key_of
from services.webhooks.tables import endpoints


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint as it was when it was read. The first secret is the present one."""

    endpoint_id: UUID
    url: str
    enabled: bool
    api_version: str
    secrets: Sequence[Secret]
    # What the secrets stand for, one by one.
    signing_keys: Sequence[bytes]
    headers: Sequence[tuple[str, Secret]]
    message_signatures: bool
    rate_limit: int | None
    paused_until: datetime | None
    previous_secret_until: datetime | None
    stands_still: bool

    def keys(self, now: datetime) -> Sequence[bytes]:
        """What to sign with at this moment: the present secret, and the one before as long as it holds."""
        overlaps = self.previous_secret_until is not None and now < self.previous_secret_until
        return self.signing_keys if overlaps else self.signing_keys[:1]

    def rests(self, now: datetime) -> bool:
        """Whether it asked for no posts for now, or its organization stands still."""
        return self.stands_still or (self.paused_until is not None and now < self.paused_until)

    @property
    def hidden(self) -> list[Secret]:
        """What nothing that is kept may repeat."""
        return [*self.secrets, *(value for _, value in self.headers)]


_STANDS_STILL = text(f"SELECT {STANDS_STILL}")

Answer: TypeAlias = "asyncio.Future[Target | None]"


class Targets:
    """Reads endpoints: of an organization all those together that are asked for while its set before is read."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._asked: dict[UUID, dict[UUID, Answer]] = {}
        self._reading: dict[UUID, asyncio.Task[None]] = {}

    async def target(self, organization_id: UUID, endpoint_id: UUID) -> Target | None:
        """The endpoint as it is now; None when it is gone. Raises Unavailable."""
        asked = self._asked.setdefault(organization_id, {})
        answer = asked.setdefault(endpoint_id, asyncio.get_running_loop().create_future())
        if organization_id not in self._reading:
            self._reading[organization_id] = asyncio.create_task(self._read_all(organization_id))
        return await answer

    async def _read_all(self, organization_id: UUID) -> None:
        try:
            while asked := self._asked.pop(organization_id, None):
                await self._answer(organization_id, asked)
        finally:
            del self._reading[organization_id]

    async def _answer(self, organization_id: UUID, asked: Mapping[UUID, Answer]) -> None:
        context = RequestContext.of_process("webhooks", organization_id)
        try:
            async with self._database.tenant_transaction(context, read_only=True) as session:
                found = await session.execute(select(endpoints).where(endpoints.c.id.in_(asked)))
                rows = {row.id: row for row in found}
                stands_still = bool(await session.scalar(_STANDS_STILL))
                keyring = await self._vault.keyring(session)
        except Exception as error:
            for answer in asked.values():
                _fail(answer, error)
            return
        for endpoint_id, answer in asked.items():
            self._answer_one(answer, rows.get(endpoint_id), keyring, stands_still)

    def _answer_one(self, answer: Answer, row: Any, keyring: Keyring, stands_still: bool) -> None:
        try:
            target = _target(row, keyring, stands_still) if row is not None else None
        except Exception as error:
            # What does not open is one endpoint's, and no other's.
            _fail(answer, error)
        else:
            if not answer.done():
                answer.set_result(target)


def _fail(answer: Answer, error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _target(row: Any, keyring: Keyring, stands_still: bool) -> Target:
    secrets = opened_secrets(row, keyring)
    return Target(
        endpoint_id=row.id,
        url=row.url,
        enabled=row.enabled,
        api_version=row.api_version,
        secrets=secrets,
        signing_keys=[key_of(secret) for secret in secrets],
        headers=opened_headers(row, keyring),
        message_signatures=row.message_signatures,
        rate_limit=row.rate_limit,
        paused_until=row.paused_until,
        previous_secret_until=row.previous_secret_until,
        stands_still=stands_still,
    )


def now() -> datetime:
    """The time, as rows tell it."""
    return datetime.now(UTC)
