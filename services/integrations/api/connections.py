"""ConnectionService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.secret import Secret
from chassis.vault.vault import Vault
from flownurture.integrations.v1 import connections_pb2 as pb
from services.integrations import connections
from services.integrations.api.fields import CONNECTOR_KINDS, METHODS, id_of, provider_of, timestamp
from services.integrations.connecting import Connecting, disconnect
from services.integrations.connections import Connection, Status, provider_value
from services.integrations.sync import activities

_STATUSES = {
    Status.ACTIVE: pb.CONNECTION_STATUS_ACTIVE,
    Status.NEEDS_AUTHORIZATION: pb.CONNECTION_STATUS_NEEDS_AUTHORIZATION,
}


class ConnectionApi:
    """Connections, without what they are connected with."""

    service = pb.DESCRIPTOR.services_by_name["ConnectionService"]

    def __init__(self, vault: Vault, connecting: Connecting) -> None:
        self._vault = vault
        self._connecting = connecting

    async def create_connection(
        self, request: pb.CreateConnectionRequest, context: RequestContext
    ) -> pb.Connection:
        """Connect an account by its key: INVALID for one that the CRM does not take, CONFLICT, UNAVAILABLE."""
        key = Secret(request.api_key.strip())
        return _as_message(await self._connecting.by_key(context, provider_of(request.provider), key))

    async def get_connection(
        self, request: pb.GetConnectionRequest, context: RequestContext, session: TenantSession
    ) -> pb.Connection:
        """The connection, or NOT_FOUND."""
        return _as_message(await connections.get_connection(session, parse_id(request.connection_id)))

    async def list_connections(
        self, request: pb.ListConnectionsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListConnectionsResponse:
        """Connections, newest first."""
        size = page_size(request.page_size)
        found = await connections.page_connections(
            session,
            connected_by=id_of(request.connected_by),
            before=decode_cursor(request.page_token),
            size=size + 1,
        )
        return pb.ListConnectionsResponse(
            connections=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_connection(
        self, request: pb.UpdateConnectionRequest, context: RequestContext, session: TenantSession
    ) -> pb.Connection:
        """The connection as it is now, or NOT_FOUND."""
        connection_id = parse_id(request.connection_id)
        if not request.HasField("log_activities"):
            return _as_message(await connections.get_connection(session, connection_id))
        changed = await connections.show_activities(session, connection_id, request.log_activities)
        if not request.log_activities:
            await activities.forget_all(session, connection_id)
        return _as_message(changed)

    async def delete_connection(
        self, request: pb.DeleteConnectionRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Disconnect, or NOT_FOUND."""
        await disconnect(session, self._vault, parse_id(request.connection_id))
        return Empty()


def _as_message(connection: Connection) -> pb.Connection:
    return pb.Connection(
        id=str(connection.id),
        provider=provider_value(connection.provider),
        method=METHODS[connection.method],
        status=_STATUSES[connection.status],
        account_id=connection.account_id,
        account_name=connection.account_name,
        scopes=connection.scopes,
        connected_by=str(connection.connected_by),
        connected_by_kind=CONNECTOR_KINDS[connection.connected_by_kind],
        last_error=connection.last_error,
        last_error_at=timestamp(connection.last_error_at),
        last_sync_at=timestamp(connection.last_sync_at),
        log_activities=connection.logs_activities,
        created_at=timestamp(connection.created_at),
        updated_at=timestamp(connection.updated_at),
    )
