"""A sending domain, from its name to mails that verify, and back."""

from collections.abc import Iterable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import dkim
import pytest

from chassis.database import Database
from chassis.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unavailable
from chassis.vault.vault import Vault
from deploy.local.nameserver.server import Nameserver
from flownurture.sending.v1 import domains_pb2 as pb
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.domain_records import Platform
from services.sending.domains import Domain
from services.sending.platform_domain import ensure_platform_domain
from services.sending.signed_addresses import ReturnPaths
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.verification import Verification, fresh_keys

FOUND, MISSING, WRONG = (pb.DNS_RECORD_STATE_FOUND, pb.DNS_RECORD_STATE_MISSING, pb.DNS_RECORD_STATE_WRONG)


@pytest.fixture
def tenant(tenant: Tenant) -> Tenant:
    tenant.subscribe("domain_authentication")
    return tenant


def name_of(tenant: Tenant) -> str:
    """A domain of this tenant's own: the DNS is the same for all."""
    return f"{tenant.context.organization.hex[-12:]}.test"


async def add(tenant: Tenant, name: str = "") -> pb.Domain:
    domain: pb.Domain = await tenant(pb.CreateDomainRequest(name=name or name_of(tenant)))
    return domain


def publish(nameserver: Nameserver, domain: pb.Domain) -> None:
    """Enter the records of a domain as they are shown."""
    for record in domain.records:
        value = f"{record.value}." if record.type == "CNAME" else record.value
        nameserver.zone.publish(record.name, record.type, [value])


async def verify(tenant: Tenant, domain: pb.Domain) -> pb.Domain:
    verified: pb.Domain = await tenant(pb.VerifyDomainRequest(domain_id=domain.id))
    return verified


async def verified(tenant: Tenant, nameserver: Nameserver) -> pb.Domain:
    domain = await add(tenant)
    publish(nameserver, domain)
    return await verify(tenant, domain)


def states(domain: pb.Domain) -> list[Any]:
    return [record.state for record in domain.records]


def read(relay: MailRelay, recipient: str) -> EmailMessage:
    mail = message_from_bytes(relay.mail_to(recipient), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def signers(mail: bytes, records: Iterable[Any]) -> list[tuple[str, bool]]:
    """Domain and validity of each signature, by the keys that these records publish."""
    published = {f"{record.name}.".encode(): record.value.encode() for record in records}
    message = dkim.DKIM(mail)
    fields = [value.decode() for name, value in message.headers if name.lower() == b"dkim-signature"]
    said = [dict(part.strip().split("=", 1) for part in field.split(";") if "=" in part) for field in fields]
    return [
        (each["d"], message.verify(number, dnsfunc=lambda name, **_: published.get(name)))
        for number, each in enumerate(said)
    ]


async def test_a_domain_tells_which_records_to_publish(tenant: Tenant) -> None:
    domain = await add(tenant, f" {name_of(tenant).upper()}. ")
    name = name_of(tenant)
    assert domain.name == name
    rsa, ed25519 = sorted(
        (each for each in domain.records if "._domainkey." in each.name), key=lambda r: -len(r.value)
    )
    assert rsa.value.startswith("v=DKIM1; k=rsa; p=MIIB")
    assert ed25519.value.startswith("v=DKIM1; k=ed25519; p=")
    assert [(each.type, each.name, each.value) for each in domain.records[2:]] == [
        ("CNAME", f"bounce.{name}", "mail.test"),
        ("TXT", name, "v=spf1 include:spf.mail.test ~all"),
        ("TXT", f"_dmarc.{name}", "v=DMARC1; p=none"),
    ]
    assert set(states(domain)) == {pb.DNS_RECORD_STATE_UNCHECKED}


async def test_a_domain_is_verified_by_the_dns_alone(tenant: Tenant, nameserver: Nameserver) -> None:
    domain = await add(tenant)
    looked_up = await verify(tenant, domain)
    assert (looked_up.status, set(states(looked_up))) == (pb.DOMAIN_STATUS_PENDING, {MISSING})
    assert all(record.detail for record in looked_up.records)
    publish(nameserver, domain)
    looked_up = await verify(tenant, domain)
    assert (looked_up.status, set(states(looked_up))) == (pb.DOMAIN_STATUS_VERIFIED, {FOUND})


@pytest.mark.parametrize(
    ("place", "values", "told"),
    [
        (0, ["v=DKIM1; k=rsa; p=AAAA"], "another key"),
        (2, ["elsewhere.test."], "it leads to elsewhere.test"),
        (3, ["v=spf1 include:other.test ~all"], "does not say include:spf.mail.test"),
        (3, ["v=spf1 include:spf.mail.test ~all", "v=spf1 -all"], "several records"),
        (4, ["v=DMARC1; p=perhaps"], "neither the domain nor one above it"),
        (4, ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "neither the domain nor one above it"),
    ],
)
async def test_a_record_that_is_wrong_is_told_and_verifies_nothing(
    tenant: Tenant, nameserver: Nameserver, place: int, values: list[str], told: str
) -> None:
    domain = await add(tenant)
    publish(nameserver, domain)
    record = domain.records[place]
    nameserver.zone.publish(record.name, record.type, values)
    if place == 0:
        other = domain.records[1]
        nameserver.zone.publish(other.name, other.type, [])
    looked_up = await verify(tenant, domain)
    assert looked_up.records[place].state in {MISSING, WRONG}
    assert told in looked_up.records[place].detail
    assert looked_up.status == pb.DOMAIN_STATUS_PENDING


async def test_the_dmarc_policy_of_the_organization_above_holds(
    tenant: Tenant, nameserver: Nameserver
) -> None:
    above = name_of(tenant)
    nameserver.zone.publish(f"_dmarc.{above}", "TXT", ["v=DMARC1; p=reject"])
    domain = await add(tenant, f"a.b.c.d.e.f.g.h.{above}")
    publish(nameserver, domain)
    nameserver.zone.publish(domain.records[4].name, "TXT", [])
    looked_up = await verify(tenant, domain)
    assert looked_up.records[4].state == FOUND
    assert looked_up.records[4].detail == f"by the policy of {above}"


async def test_a_dns_that_is_silent_says_nothing(tenant: Tenant, nameserver: Nameserver) -> None:
    domain = await verified(tenant, nameserver)
    nameserver.silent = True
    try:
        with pytest.raises(Unavailable):
            await verify(tenant, domain)
    finally:
        nameserver.silent = False
    kept = await tenant(pb.GetDomainRequest(domain_id=domain.id))
    assert (kept.status, set(states(kept))) == (pb.DOMAIN_STATUS_VERIFIED, {FOUND})


async def test_a_domain_fails_when_its_records_stay_away(
    tenant: Tenant, nameserver: Nameserver, verification: Verification
) -> None:
    domain = await verified(tenant, nameserver)
    nameserver.zone.publish(domain.records[2].name, "CNAME", [])
    seen = []
    for _ in range(3):
        await tenant.rows("UPDATE domains SET next_check_at = now()")
        await verification.round()
        seen.append((await tenant(pb.GetDomainRequest(domain_id=domain.id))).status)
    assert seen == [pb.DOMAIN_STATUS_VERIFIED, pb.DOMAIN_STATUS_VERIFIED, pb.DOMAIN_STATUS_FAILED]
    publish(nameserver, domain)
    assert (await verify(tenant, domain)).status == pb.DOMAIN_STATUS_VERIFIED


async def test_a_key_that_cannot_be_seen_once_signs_all_the_same(
    tenant: Tenant, nameserver: Nameserver, worker: Worker, relay: MailRelay
) -> None:
    domain = await verified(tenant, nameserver)
    for record in domain.records[:2]:
        nameserver.zone.publish(record.name, record.type, [])
    assert (await verify(tenant, domain)).status == pb.DOMAIN_STATUS_VERIFIED
    await tenant.message("ada@example.com", from_email=f"news@{domain.name}")
    await tenant.deliver(worker)
    assert signers(relay.mail_to("ada@example.com"), domain.records) == [(domain.name, True)] * 2
    for _ in range(2):
        await verify(tenant, domain)
    assert (await tenant(pb.GetDomainRequest(domain_id=domain.id))).status == pb.DOMAIN_STATUS_FAILED


async def test_a_key_that_few_can_verify_verifies_no_domain(tenant: Tenant, nameserver: Nameserver) -> None:
    domain = await add(tenant)
    publish(nameserver, domain)
    [rsa] = [record for record in domain.records if "k=rsa" in record.value]
    nameserver.zone.publish(rsa.name, rsa.type, [])
    looked_up = await verify(tenant, domain)
    assert states(looked_up).count(FOUND) == len(domain.records) - 1
    assert looked_up.status == pb.DOMAIN_STATUS_PENDING


async def test_mail_of_a_verified_domain_is_signed_twice(
    tenant: Tenant, nameserver: Nameserver, worker: Worker, relay: MailRelay, settings: DeliverySettings
) -> None:
    domain = await verified(tenant, nameserver)
    await tenant.launch("ada@example.com", "bob@example.com", from_email=f"news@{domain.name}")
    await tenant.deliver(worker)
    for recipient in ("ada@example.com", "bob@example.com"):
        mail = read(relay, recipient)
        assert mail["From"].addresses[0].addr_spec == f"news@{domain.name}"
        assert mail["Reply-To"] is None
        assert signers(relay.mail_to(recipient), domain.records) == [(domain.name, True)] * 2
        assert mail["List-Id"] == f"<{tenant.context.organization.hex}.mail.test>"
        assert mail["Feedback-ID"].count(":") == 3
    [message] = await tenant.rows("SELECT id FROM messages WHERE email = 'ada@example.com'")
    return_path = relay.return_paths["ada@example.com"]
    assert return_path.endswith(f"@bounce.{domain.name}")
    assert ReturnPaths(settings.link_keys).open(return_path) == (tenant.context.organization, message.id)


async def test_mail_of_a_domain_that_is_not_verified_comes_from_the_platforms(
    tenant: Tenant, shared: Domain, worker: Worker, relay: MailRelay
) -> None:
    domain = await add(tenant)
    await tenant.message("ada@example.com", from_email=f"zoe@{domain.name}", from_name="Zoë")
    await tenant.deliver(worker)
    mail = read(relay, "ada@example.com")
    own = f"{tenant.context.organization.hex[-12:]}@{shared.name}"
    assert mail["From"].addresses[0].addr_spec == own
    assert mail["From"].addresses[0].display_name == "Zoë"
    assert mail["Reply-To"].addresses[0].addr_spec == f"zoe@{domain.name}"
    assert relay.return_paths["ada@example.com"].endswith("@mail.test")
    published = shared.records(Platform("mail.test", "spf.mail.test"))
    assert signers(relay.mail_to("ada@example.com"), published) == [(shared.name, True)] * 2


async def test_nobody_sends_from_anothers_domain(
    tenant: Tenant, stranger: Tenant, nameserver: Nameserver, worker: Worker, relay: MailRelay
) -> None:
    domain = await verified(tenant, nameserver)
    await stranger.message("ada@example.com", from_email=f"ceo@{domain.name}")
    await stranger.deliver(worker)
    mail = read(relay, "ada@example.com")
    assert domain.name not in mail["From"].addresses[0].addr_spec
    assert (
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=" + domain.name.encode()
        not in relay.mail_to("ada@example.com")
    )


async def test_the_platforms_own_domain_is_made_once(
    shared: Domain, database: Database, vault: Vault
) -> None:
    assert await ensure_platform_domain(database, shared.name, vault, await fresh_keys()) == shared


async def test_keys_are_replaced_without_a_gap(
    tenant: Tenant, nameserver: Nameserver, worker: Worker, relay: MailRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sending.delivery.senders._KNOWN_SECONDS", 0.0)
    old = await verified(tenant, nameserver)
    rotating = await tenant(pb.RotateDomainKeysRequest(domain_id=old.id))
    assert len(rotating.records) == len(old.records) + 2
    with pytest.raises(Conflict):
        await tenant(pb.RotateDomainKeysRequest(domain_id=old.id))
    # Until the new ones are found the old ones sign.
    await tenant.message("one@example.com", from_email=f"news@{old.name}")
    await tenant.deliver(worker)
    assert signers(relay.mail_to("one@example.com"), old.records) == [(old.name, True)] * 2
    publish(nameserver, rotating)
    new = await verify(tenant, old)
    assert (new.status, set(states(new))) == (pb.DOMAIN_STATUS_VERIFIED, {FOUND})
    # What the old ones have signed can still be looked up for a week.
    assert [record.HasField("needed_until") for record in new.records[:4]] == [False, False, True, True]
    await tenant.message("two@example.com", from_email=f"news@{old.name}")
    await tenant.deliver(worker)
    assert signers(relay.mail_to("two@example.com"), new.records[:2]) == [(old.name, True)] * 2
    await tenant.rows(
        "UPDATE dkim_keys SET retired_at = now() - interval '8 days' WHERE retired_at IS NOT NULL"
    )
    assert len((await verify(tenant, old)).records) == len(old.records)


async def test_keys_are_not_to_be_seen_in_the_database(tenant: Tenant) -> None:
    domain = await add(tenant)
    rows = await tenant.rows("SELECT id, sealed_key FROM dkim_keys")
    assert len(rows) == 2
    assert not any(b"PRIVATE" in row.sealed_key or row.sealed_key[:2] == b"\x30\x82" for row in rows)
    assert "sealed" not in str(domain)


async def test_domains_are_listed_and_deleted(tenant: Tenant, stranger: Tenant) -> None:
    domain = await add(tenant)
    [listed] = (await tenant(pb.ListDomainsRequest())).domains
    assert (listed.id, list(listed.records)) == (domain.id, [])
    with pytest.raises(Conflict):
        await add(tenant)
    for request in (pb.GetDomainRequest(domain_id=domain.id), pb.DeleteDomainRequest(domain_id=domain.id)):
        with pytest.raises(NotFound):
            await stranger(request)
    await tenant(pb.DeleteDomainRequest(domain_id=domain.id))
    assert await tenant.rows("SELECT FROM dkim_keys") == []
    await add(tenant)


@pytest.mark.parametrize(
    "name", ["", "x", "a b.test", "-a.test", "a..test", "127.0.0.1", "ada@shop.test", "x" * 64 + ".test"]
)
async def test_what_is_no_domain_is_refused(tenant: Tenant, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.CreateDomainRequest(name=name))
    assert [violation.field for violation in refused.value.violations] == ["name"]


async def test_a_domain_takes_a_plan_that_has_it(stranger: Tenant) -> None:
    with pytest.raises(PermissionDenied):
        await add(stranger)
