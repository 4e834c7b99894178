"""What tests do with API keys, through the edge."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis import derived_key
from chassis.api_key import ApiKey
from chassis.derived_key import DerivedKey
from flownurture.identity.v1 import admission_pb2, api_keys_pb2
from services.identity.tests.edge import Edge, Person


async def create(edge: Edge, person: Person, **changed: Any) -> api_keys_pb2.CreateApiKeyResponse:
    """A key that may read contacts, unless a test wants another."""
    asked = {"name": "reports", "scopes": ["contacts:read"], **changed}
    request = api_keys_pb2.CreateApiKeyRequest(**asked)
    answer: api_keys_pb2.CreateApiKeyResponse = await edge.call(
        edge.api_keys.CreateApiKey, request, person.context
    )
    return answer


async def page(edge: Edge, person: Person, **asked: Any) -> api_keys_pb2.ListApiKeysResponse:
    """A page of the organization's keys."""
    request = api_keys_pb2.ListApiKeysRequest(**asked)
    answer: api_keys_pb2.ListApiKeysResponse = await edge.call(
        edge.api_keys.ListApiKeys, request, person.context
    )
    return answer


async def revoke(edge: Edge, person: Person, key_id: str) -> None:
    """Revoke a key."""
    request = api_keys_pb2.DeleteApiKeyRequest(api_key_id=key_id)
    await edge.call(edge.api_keys.DeleteApiKey, request, person.context)


async def resolve(edge: Edge, text: str) -> admission_pb2.Grant:
    """What a key may do, or one that is derived from it, as a gateway asks; or Unauthenticated."""
    request = admission_pb2.ResolveCredentialRequest(api_key=credential(text))
    grant: admission_pb2.Grant = await edge.call(edge.admission.ResolveCredential, request)
    return grant


def credential(text: str) -> admission_pb2.ApiKeyCredential:
    """What a gateway shows of a key."""
    if not text.startswith(derived_key.PREFIX):
        key = ApiKey.parse(text)
        return admission_pb2.ApiKeyCredential(api_key_id=str(key.key_id), secret_sha256=key.secret_digest)
    derived = DerivedKey.parse(text)
    return admission_pb2.ApiKeyCredential(
        api_key_id=str(derived.key_id), restrictions=derived.restrictions, signature=derived.signature
    )


def after(time: timedelta) -> Timestamp:
    """A moment that is so far from now."""
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + time)
    return moment
