"""HeldCredentialService: what is held, whoever connected it and whatever the plan, and taking it back."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.vault.vault import Vault
from flownurture.integrations.v1 import held_credentials_pb2 as pb
from services.integrations import connections
from services.integrations.api.fields import CONNECTOR_KINDS, METHODS, id_of, timestamp
from services.integrations.connecting import disconnect
from services.integrations.connections import Connection, provider_value
from services.integrations.identity_peer import FEATURE


class HeldCredentialApi:
    """For an organization's admins."""

    service = pb.DESCRIPTOR.services_by_name["HeldCredentialService"]

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def list_held_credentials(
        self, request: pb.ListHeldCredentialsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListHeldCredentialsResponse:
        """One for each connection, newest first."""
        size = page_size(request.page_size)
        found = await connections.page_connections(
            session,
            connected_by=id_of(request.connected_by),
            before=decode_cursor(request.page_token),
            size=size + 1,
        )
        is_paused = FEATURE not in context.features
        return pb.ListHeldCredentialsResponse(
            held_credentials=[_as_message(each, is_paused) for each in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def revoke_held_credential(
        self, request: pb.RevokeHeldCredentialRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Disconnect, or NOT_FOUND."""
        await disconnect(session, self._vault, parse_id(request.connection_id))
        return Empty()


def _as_message(connection: Connection, is_paused: bool) -> pb.HeldCredential:
    return pb.HeldCredential(
        connection_id=str(connection.id),
        provider=provider_value(connection.provider),
        method=METHODS[connection.method],
        account_name=connection.account_name,
        connected_by=str(connection.connected_by),
        connected_by_kind=CONNECTOR_KINDS[connection.connected_by_kind],
        created_at=timestamp(connection.created_at),
        paused_by_plan=is_paused,
    )
