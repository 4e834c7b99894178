"""One attempt: the body, signed for this moment, is posted, and what came back is told."""

from datetime import datetime
from uuid import UUID

from chassis.identifiers import new_id
from services.webhooks.dispatch.parcels import Attempt, Parcel
from services.webhooks.dispatch.scrubbing import scrubbed
from services.webhooks.dispatch.targets import Target, now
from services.webhooks.dispatch.verdicts import is_success
from services.webhooks.message_signature import message_signature_headers
from services.webhooks.outbound.addresses import Refused
from services.webhooks.outbound.answers import PostFailed
from services.webhooks.outbound.client import Client, Pool
from services.webhooks.outbound.destinations import parse_destination
from services.webhooks.payloads import body_of
from services.webhooks.signing import signature_headers

_CONTENT = ("Content-Type", "application/json")
_MOST_WORDS = 300


class Postman:
    """Posts to one endpoint of an organization, over connections that are kept."""

    def __init__(self, organization_id: UUID, client: Client) -> None:
        self._organization_id = organization_id
        self._client = client
        self._pool: Pool | None = None

    async def __call__(self, parcel: Parcel, target: Target) -> Attempt:
        """Post it once. Whatever goes wrong is told in the attempt."""
        begun = now()
        body = body_of(parcel, self._organization_id, target.api_version)
        try:
            pool = self._pool_of(target)
            answer = await pool.post(_headers(parcel, target, pool.url, body, begun), body)
        except PostFailed as failure:
            return _failed(begun, failure.outcome, failure.detail, failure.address, failure.duration)
        except Refused as refusal:
            return _failed(begun, "refused", str(refusal))
        return Attempt(
            id=new_id(),
            attempted_at=begun,
            outcome="delivered" if is_success(answer.status) else "answered",
            duration_ms=round(answer.duration * 1_000),
            address=answer.address,
            status_code=answer.status,
            response_body=scrubbed(answer.body, target.hidden),
            retry_after=answer.retry_after,
        )

    def close(self) -> None:
        """Close what is open; the next post opens connections anew, wherever the endpoint is then."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None

    def _pool_of(self, target: Target) -> Pool:
        if self._pool is None:
            self._pool = self._client.pool(parse_destination(target.url, self._client.rules))
        return self._pool


def _failed(begun: datetime, outcome: str, detail: str, address: str = "", duration: float = 0.0) -> Attempt:
    return Attempt(
        id=new_id(),
        attempted_at=begun,
        outcome=outcome,
        duration_ms=round(duration * 1_000),
        address=address,
        error=detail[:_MOST_WORDS],
    )


def _headers(
    parcel: Parcel, target: Target, url: str, body: bytes, moment: datetime
) -> list[tuple[str, str]]:
    event_id, at, keys = str(parcel.event_id), int(moment.timestamp()), target.keys(moment)
    headers = [_CONTENT, *signature_headers(event_id, at, body, keys)]
    if target.message_signatures:
        headers += message_signature_headers(url, event_id, at, body, keys, key_id=str(target.endpoint_id))
    headers += [(name, value.reveal()) for name, value in target.headers]
    return headers
