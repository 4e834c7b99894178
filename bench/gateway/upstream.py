"""The process behind both contenders: a plain gRPC server that answers GetContact, and nothing else."""

import asyncio
import sys
from datetime import UTC, datetime

import grpc.aio
import uvloop

from flownurture.contacts.v1 import contacts_pb2

CONTACT = contacts_pb2.Contact(
    id="01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f",
    email="ada.lovelace@example.com",
    first_name="Ada",
    last_name="Lovelace",
    status=contacts_pb2.CONTACT_STATUS_SUBSCRIBED,
    list_ids=["01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e30", "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e31"],
)
CONTACT.created_at.FromDatetime(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
CONTACT.updated_at.FromDatetime(datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC))


async def get_contact(request: contacts_pb2.GetContactRequest, call: object) -> contacts_pb2.Contact:
    """The same contact, whoever asks."""
    return CONTACT


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        get_contact,
        request_deserializer=contacts_pb2.GetContactRequest.FromString,
        response_serializer=contacts_pb2.Contact.SerializeToString,
    )
    service = contacts_pb2.DESCRIPTOR.services_by_name["ContactService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"GetContact": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
