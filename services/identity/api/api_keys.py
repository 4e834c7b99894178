"""`ApiKeyService`: keys for programs, managed by an organization's admins."""

from datetime import UTC
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.vault.vault import Vault
from flownurture.identity.v1 import api_keys_pb2 as pb
from services.identity import api_keys
from services.identity.api.messages import api_key_message
from services.identity.grants import Grants
from services.identity.names import parse_name
from services.identity.scopes import parse_scopes


class ApiKeyService:
    """Create, list and revoke keys. Nothing here changes what a key may do."""

    service = pb.DESCRIPTOR.services_by_name["ApiKeyService"]

    def __init__(self, grants: Grants, vault: Vault) -> None:
        self._grants = grants
        self._vault = vault

    async def create_api_key(
        self, request: pb.CreateApiKeyRequest, context: RequestContext, session: TenantSession
    ) -> pb.CreateApiKeyResponse:
        """Create a key; the only answer that holds its secret."""
        key, secret = await api_keys.create(
            session,
            self._vault,
            name=parse_name(request.name),
            scopes=parse_scopes(request.scopes),
            expires_at=request.expires_at.ToDatetime(UTC) if request.HasField("expires_at") else None,
        )
        return pb.CreateApiKeyResponse(api_key=api_key_message(key), secret=secret.reveal())

    async def list_api_keys(
        self, request: pb.ListApiKeysRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListApiKeysResponse:
        """The organization's keys, newest first, without their secrets."""
        size = page_size(request.page_size)
        # One more than the page tells whether there is a next one.
        found = await api_keys.page(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListApiKeysResponse(
            api_keys=[api_key_message(key) for key in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def delete_api_key(
        self, request: pb.DeleteApiKeyRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Revoke a key; when this has answered, it is refused everywhere. NotFound for another tenant's."""
        await api_keys.revoke(session, UUID(request.api_key_id), self._grants)
        return Empty()
