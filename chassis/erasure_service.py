"""`ErasureService`: how far a service is with erasing an organization. Identity alone asks."""

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.operations.v1 import erasures_pb2 as pb

_ERASED_AT = text("SELECT erased_at FROM erasures")


class ErasureService:
    """What the schema of one service says of it."""

    service = pb.DESCRIPTOR.services_by_name["ErasureService"]

    async def get_erasure(
        self, request: pb.GetErasureRequest, context: RequestContext, session: TenantSession
    ) -> pb.Erasure:
        """When nothing was left of the context's organization, if it was ever so."""
        return pb.Erasure(erased_at=await erased_at(session))


async def erased_at(session: TenantSession) -> Timestamp | None:
    """When nothing was left of the context's organization in this schema; None while something is."""
    moment = await session.scalar(_ERASED_AT)
    if moment is None:
        return None
    written = Timestamp()
    written.FromDatetime(moment)
    return written
