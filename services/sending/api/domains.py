"""DomainService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.vault.vault import Vault
from flownurture.sending.v1 import domains_pb2 as pb
from services.sending import domains
from services.sending.domain_records import Platform
from services.sending.verification import Verification, fresh_keys


class DomainApi:
    """Domains that mail comes from."""

    service = pb.DESCRIPTOR.services_by_name["DomainService"]

    def __init__(self, database: Database, vault: Vault, verification: Verification) -> None:
        self._database = database
        self._vault = vault
        self._verification = verification

    async def create_domain(
        self, request: pb.CreateDomainRequest, context: RequestContext, session: TenantSession
    ) -> pb.Domain:
        """Add a domain. INVALID for what is no name, CONFLICT when it is there already."""
        name = domains.domain_name(request.name)
        created = await domains.create_domain(session, name, self._vault, await fresh_keys())
        return self._as_message(created)

    async def get_domain(
        self, request: pb.GetDomainRequest, context: RequestContext, session: TenantSession
    ) -> pb.Domain:
        """The domain, or NOT_FOUND."""
        return self._as_message(await domains.get_domain(session, parse_id(request.domain_id)))

    async def list_domains(
        self, request: pb.ListDomainsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListDomainsResponse:
        """Domains, newest first, without their records."""
        size = page_size(request.page_size)
        found = await domains.page_domains(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListDomainsResponse(
            domains=[_without_records(domain) for domain in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def delete_domain(
        self, request: pb.DeleteDomainRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete it, or NOT_FOUND."""
        await domains.delete_domain(session, parse_id(request.domain_id))
        return Empty()

    async def verify_domain(self, request: pb.VerifyDomainRequest, context: RequestContext) -> pb.Domain:
        """Look its records up; NOT_FOUND, UNAVAILABLE when the DNS does not answer."""
        return self._as_message(await self._verification.verify(context, parse_id(request.domain_id)))

    async def rotate_domain_keys(
        self, request: pb.RotateDomainKeysRequest, context: RequestContext, session: TenantSession
    ) -> pb.Domain:
        """Make new keys; NOT_FOUND, CONFLICT while the newest are not in the DNS."""
        domain_id = parse_id(request.domain_id)
        return self._as_message(
            await domains.rotate_keys(session, domain_id, self._vault, await fresh_keys())
        )

    def _as_message(self, domain: domains.Domain) -> pb.Domain:
        message = _without_records(domain)
        message.records.extend(_records(domain, self._verification.platform))
        return message


def _without_records(domain: domains.Domain) -> pb.Domain:
    message = pb.Domain(
        id=str(domain.id),
        name=domain.name,
        status=pb.DomainStatus.Value(f"DOMAIN_STATUS_{domain.status.name}"),
    )
    message.created_at.FromDatetime(domain.created_at)
    if domain.verified_at is not None:
        message.verified_at.FromDatetime(domain.verified_at)
    if domain.checked_at is not None:
        message.checked_at.FromDatetime(domain.checked_at)
    return message


def _records(domain: domains.Domain, platform: Platform) -> list[pb.DnsRecord]:
    messages = []
    for record in domain.records(platform):
        finding = domain.finding(record)
        message = pb.DnsRecord(
            purpose=pb.DnsRecordPurpose.Value(f"DNS_RECORD_PURPOSE_{record.purpose.name}"),
            type=record.type,
            name=record.name,
            value=record.value,
            state=pb.DnsRecordState.Value(f"DNS_RECORD_STATE_{finding.state.name}"),
            detail=finding.detail,
        )
        if record.needed_until is not None:
            message.needed_until.FromDatetime(record.needed_until)
        messages.append(message)
    return messages
