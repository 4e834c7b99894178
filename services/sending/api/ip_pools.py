"""IpPoolService and IpPoolAdminService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FailedPrecondition
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.vault.vault import Vault
from flownurture.sending.v1 import ip_pools_pb2 as pb
from services.sending import ip_pools
from services.sending.api.operators import within
from services.sending.identity_peer import IdentityPeer
from services.sending.ip_pools import NewAddress

_FEATURE = "dedicated_ips"


class IpPoolApi:
    """What an organization sees of its pool."""

    service = pb.DESCRIPTOR.services_by_name["IpPoolService"]

    async def get_ip_pool(
        self, request: pb.GetIpPoolRequest, context: RequestContext, session: TenantSession
    ) -> pb.IpPool:
        """The pool, or NOT_FOUND."""
        return _as_message(await ip_pools.get_ip_pool(session, parse_id(request.ip_pool_id)))

    async def list_ip_pools(
        self, request: pb.ListIpPoolsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListIpPoolsResponse:
        """Pools, newest first."""
        size = page_size(request.page_size)
        found = await ip_pools.page_ip_pools(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListIpPoolsResponse(
            ip_pools=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )


class IpPoolAdminApi:
    """What operators do for an organization, each time within the one that is named."""

    service = pb.DESCRIPTOR.services_by_name["IpPoolAdminService"]

    def __init__(self, database: Database, identity: IdentityPeer, vault: Vault) -> None:
        self._database = database
        self._identity = identity
        self._vault = vault

    async def create_ip_pool(self, request: pb.CreateIpPoolRequest, context: RequestContext) -> pb.IpPool:
        """Make the pool. INVALID, NOT_FOUND, FAILED_PRECONDITION, CONFLICT."""
        addresses = [
            _new_address(address, f"addresses[{index}]") for index, address in enumerate(request.addresses)
        ]
        theirs = within(context, request.organization_id)
        if _FEATURE not in await self._identity.features(theirs):
            raise FailedPrecondition(
                "The organization's plan has no dedicated addresses.", reason="PLAN_UPGRADE_REQUIRED"
            )
        async with self._database.tenant_transaction(theirs) as session:
            return _as_message(await ip_pools.create_ip_pool(session, request.name, addresses, self._vault))

    async def list_organization_ip_pools(
        self, request: pb.ListOrganizationIpPoolsRequest, context: RequestContext
    ) -> pb.ListOrganizationIpPoolsResponse:
        """Pools, newest first."""
        size = page_size(request.page_size)
        theirs = within(context, request.organization_id)
        # Who has no pool is told apart from who does not exist.
        await self._identity.features(theirs)
        async with self._database.tenant_transaction(theirs, read_only=True) as session:
            found = await ip_pools.page_ip_pools(
                session, before=decode_cursor(request.page_token), size=size + 1
            )
        return pb.ListOrganizationIpPoolsResponse(
            ip_pools=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def delete_ip_pool(self, request: pb.DeleteIpPoolRequest, context: RequestContext) -> Empty:
        """Delete it, or NOT_FOUND."""
        async with self._database.tenant_transaction(within(context, request.organization_id)) as session:
            await ip_pools.delete_ip_pool(session, parse_id(request.ip_pool_id))
        return Empty()

    async def add_ip_pool_address(
        self, request: pb.AddIpPoolAddressRequest, context: RequestContext
    ) -> pb.IpPool:
        """Add an address. INVALID, NOT_FOUND, CONFLICT."""
        address = _new_address(request.address, "address")
        async with self._database.tenant_transaction(within(context, request.organization_id)) as session:
            return _as_message(
                await ip_pools.add_address(session, parse_id(request.ip_pool_id), address, self._vault)
            )

    async def remove_ip_pool_address(
        self, request: pb.RemoveIpPoolAddressRequest, context: RequestContext
    ) -> pb.IpPool:
        """Take an address out. NOT_FOUND, CONFLICT."""
        async with self._database.tenant_transaction(within(context, request.organization_id)) as session:
            return _as_message(
                await ip_pools.remove_address(
                    session, parse_id(request.ip_pool_id), parse_id(request.address_id)
                )
            )


def _new_address(message: pb.NewIpPoolAddress, field: str) -> NewAddress:
    return NewAddress.of(message.relay_url, message.source_address, warm=message.warm, field=field)


def _as_message(pool: ip_pools.IpPool) -> pb.IpPool:
    message = pb.IpPool(id=str(pool.id), name=pool.name)
    message.created_at.FromDatetime(pool.created_at)
    for address in pool.addresses:
        shown = message.addresses.add(
            id=str(address.id), source_address=address.source_address, relay=address.relay
        )
        shown.created_at.FromDatetime(address.created_at)
        if address.warm_up is not None:
            shown.warm_up.CopyFrom(
                pb.WarmUp(day=address.warm_up.day, allowed=address.warm_up.allowed, used=address.warm_up.used)
            )
    return message
