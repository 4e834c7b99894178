"""An endpoint as its lane needs it: where to post, with which headers, signed by which keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select

from chassis.database import TenantSession
from chassis.sealing import Sealer
from chassis.secret import Secret
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
    headers: Sequence[tuple[str, Secret]]
    message_signatures: bool
    rate_limit: int | None
    paused_until: datetime | None
    previous_secret_until: datetime | None

    def keys(self, now: datetime) -> list[bytes]:
        """What to sign with at this moment: the present secret, and the one before as long as it holds."""
        overlaps = self.previous_secret_until is not None and now < self.previous_secret_until
        return [key_of(secret) for secret in (self.secrets if overlaps else self.secrets[:1])]

    def rests(self, now: datetime) -> bool:
        """Whether it asked for no posts for now."""
        return self.paused_until is not None and now < self.paused_until

    @property
    def hidden(self) -> list[Secret]:
        """What nothing that is kept may repeat."""
        return [*self.secrets, *(value for _, value in self.headers)]


async def target(session: TenantSession, endpoint_id: UUID, sealer: Sealer) -> Target | None:
    """The endpoint; None when it is gone."""
    row = (await session.execute(select(endpoints).where(endpoints.c.id == endpoint_id))).one_or_none()
    if row is None:
        return None
    return Target(
        endpoint_id=row.id,
        url=row.url,
        enabled=row.enabled,
        api_version=row.api_version,
        secrets=opened_secrets(row, sealer),
        headers=opened_headers(row, sealer),
        message_signatures=row.message_signatures,
        rate_limit=row.rate_limit,
        paused_until=row.paused_until,
        previous_secret_until=row.previous_secret_until,
    )


def now() -> datetime:
    """The time, as rows tell it."""
    return datetime.now(UTC)
