"""What tests of RPCs share: keys, a server on a free port, and callers with stamps of their own."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.empty_pb2 import Empty

from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database
from chassis.rpc.client import Peer
from chassis.rpc.methods import Servicer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from flownurture.contacts.v1 import contacts_pb2 as pb

_KEYS = {name: Ed25519PrivateKey.generate() for name in ("gateway", "sending", "stranger")}
TRUSTED = {
    name: b64encode(key.public_key().public_bytes_raw()).decode()
    for name, key in _KEYS.items()
    if name != "stranger"
}


def private_key(name: str) -> Secret:
    return Secret(b64encode(_KEYS[name].private_bytes_raw()).decode())


def stamper(name: str = "gateway", key: str = "") -> Stamper:
    return Stamper(name, private_key(key or name))


def member(**changes: Any) -> RequestContext:
    """A user of an organization that no other test knows."""
    return RequestContext(
        **{
            "issuer": "gateway",
            "actor_kind": ActorKind.USER,
            "actor_id": str(uuid4()),
            "role": Role.MEMBER,
            "organization_id": uuid4(),
            "request_id": f"request-{uuid4()}",
            **changes,
        }
    )


class Contacts:
    """A ContactService that does what a test tells it to."""

    service = pb.DESCRIPTOR.services_by_name["ContactService"]

    def __init__(self) -> None:
        self.act: Callable[[Any, RequestContext], Awaitable[Any]] = self.answer_nothing

    async def answer_nothing(self, request: Any, context: RequestContext) -> pb.Contact:
        return pb.Contact()

    async def create_contact(self, request: pb.CreateContactRequest, context: RequestContext) -> pb.Contact:
        contact: pb.Contact = await self.act(request, context)
        return contact

    async def get_contact(self, request: pb.GetContactRequest, context: RequestContext) -> pb.Contact:
        contact: pb.Contact = await self.act(request, context)
        return contact

    async def list_contacts(
        self, request: pb.ListContactsRequest, context: RequestContext
    ) -> pb.ListContactsResponse:
        return pb.ListContactsResponse()

    async def update_contact(self, request: pb.UpdateContactRequest, context: RequestContext) -> pb.Contact:
        return pb.Contact()

    async def delete_contact(self, request: pb.DeleteContactRequest, context: RequestContext) -> Empty:
        return Empty()


async def _never_called(self: Contacts, request: Any, context: RequestContext) -> None:
    raise AssertionError


for _method in Contacts.service.methods:
    _name = re.sub("(?<!^)(?=[A-Z])", "_", _method.name).lower()
    if not hasattr(Contacts, _name):
        setattr(Contacts, _name, _never_called)


@asynccontextmanager
async def serving(*servicers: Servicer, database: Database | None = None) -> AsyncIterator[RpcServer]:
    """The `contacts` process' server, on a free port."""
    verifier = StampVerifier("contacts", TRUSTED)
    async with RpcServer("contacts", "127.0.0.1:0", verifier, database).add(*servicers) as server:
        yield server


def calling(server: RpcServer, *, stamps: Stamper | None = None, audience: str = "contacts") -> Peer:
    """The gateway as it calls that server, or whoever else stamps."""
    return Peer(f"127.0.0.1:{server.port}", audience, stamps or stamper())
