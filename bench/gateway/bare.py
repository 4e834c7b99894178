"""The other contender: one FastAPI route with a pydantic response model in front of the gRPC call, and nothing else.

On the HTTP server and the event loop that the gateway has.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum

import grpc.aio
import uvloop
from fastapi import FastAPI
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from pydantic import BaseModel

from chassis.rpc.options import CHANNEL_OPTIONS
from flownurture.contacts.v1 import contacts_pb2, contacts_pb2_grpc


class Status(StrEnum):
    """Whether a contact gets mail."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


class Contact(BaseModel):
    """The response model."""

    id: str
    email: str
    first_name: str
    last_name: str
    status: Status
    list_ids: list[str]
    created_at: datetime
    updated_at: datetime | None


STATUSES = dict(enumerate(Status, start=1))


def application(target: str) -> FastAPI:
    """The application, with a channel to the upstream while it runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
            app.state.contacts = contacts_pb2_grpc.ContactServiceStub(channel)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/v1/contacts/{contact_id}")
    async def get_contact(contact_id: str) -> Contact:
        request = contacts_pb2.GetContactRequest(contact_id=contact_id)
        found = await app.state.contacts.GetContact(request, timeout=10)
        return Contact(
            id=found.id,
            email=found.email,
            first_name=found.first_name,
            last_name=found.last_name,
            status=STATUSES[found.status],
            list_ids=list(found.list_ids),
            created_at=found.created_at.ToDatetime(),
            updated_at=found.updated_at.ToDatetime() if found.HasField("updated_at") else None,
        )

    return app


async def serve(port: int, target: str) -> None:
    """Serve until killed."""
    await Server(
        application(target),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        backpressure=10_000,
        log_enabled=False,
    ).serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
