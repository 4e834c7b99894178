"""Fields of messages as the types the domain works with, and the other way about."""

from datetime import datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.identifiers import parse_id
from flownurture.integrations.v1 import connections_pb2 as pb
from services.integrations.connections import ConnectorKind, Method

METHODS = {
    Method.OAUTH: pb.CONNECTION_METHOD_OAUTH,
    Method.API_KEY: pb.CONNECTION_METHOD_API_KEY,
}
CONNECTOR_KINDS = {
    ConnectorKind.USER: pb.CONNECTED_BY_KIND_USER,
    ConnectorKind.API_KEY: pb.CONNECTED_BY_KIND_API_KEY,
}


def provider_of(value: pb.Provider.ValueType) -> str:
    """The name of a CRM that the contract names."""
    return pb.Provider.Name(value).removeprefix("PROVIDER_").lower()


def id_of(text: str) -> UUID | None:
    """The id in a field, if there is one."""
    return parse_id(text) if text else None


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A time as a field of a message, if there is one."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
