"""The contacts service on real servers, and organizations that call it as the gateway would."""

import json
from collections.abc import AsyncIterator, Callable

import pytest

from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.sealed_mail import SealedMails
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from chassis.vault.settings import mail_wrapping_of
from services.contacts.api.audience import AudienceApi
from services.contacts.api.bulk_changes import BulkChangeApi
from services.contacts.api.contacts import ContactApi
from services.contacts.api.custom_fields import CustomFieldApi
from services.contacts.api.exports import ExportApi
from services.contacts.api.form_pages import FormPageApi
from services.contacts.api.forms import FormApi
from services.contacts.api.imports import ImportApi
from services.contacts.api.list_choices import ListChoiceApi
from services.contacts.api.lists import ListApi
from services.contacts.api.segments import SegmentApi
from services.contacts.api.synced_contacts import SyncedContactApi
from services.contacts.api.tags import TagApi
from services.contacts.api.usage import ContactUsageApi
from services.contacts.api.workflow_contacts import WorkflowContactApi
from services.contacts.bulk_changes import bulk_change_worker
from services.contacts.confirmation_links import ConfirmationLinks
from services.contacts.form_lookup import FormLookup
from services.contacts.identity_peer import IdentityPeer
from services.contacts.import_worker import import_worker
from services.contacts.settings import ContactsSettings
from services.contacts.tests.plan import Plan
from services.contacts.tests.tenant import MAIL_KEYS, Tenant, Workers


@pytest.fixture(scope="session")
def settings(service_environment: Callable[[str], dict[str, str]]) -> ContactsSettings:
    keys = {key_id: key.reveal() for key_id, key in MAIL_KEYS.items()}
    environment = service_environment("contacts") | {"MAIL_KEY_ENCRYPTION_KEYS": json.dumps(keys)}
    return ContactsSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: ContactsSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="contacts") as database:
        yield database


@pytest.fixture(scope="session")
async def scheduler(settings: ContactsSettings) -> AsyncIterator[RoleDatabase]:
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        yield scheduler


@pytest.fixture(scope="session")
def workers(database: Database, scheduler: RoleDatabase) -> Workers:
    return Workers(import_worker(database, scheduler), bulk_change_worker(database, scheduler))


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan()


@pytest.fixture(scope="session")
async def identity(
    plan: Plan, settings: ContactsSettings, service_environment: Callable[[str], dict[str, str]]
) -> AsyncIterator[IdentityPeer]:
    verifier = StampVerifier("identity", settings.stamp_trusted_keys)
    key = Secret(service_environment("contacts")["STAMP_PRIVATE_KEY"])
    async with (
        RpcServer("identity", "127.0.0.1:0", verifier).add(plan) as server,
        Peer(f"127.0.0.1:{server.port}", "identity", Stamper("contacts", key)) as peer,
    ):
        yield IdentityPeer(peer)


@pytest.fixture(scope="session")
async def lookup(settings: ContactsSettings) -> AsyncIterator[FormLookup]:
    async with RoleDatabase(settings.database_lookup_url) as database:
        yield FormLookup(database)


@pytest.fixture(scope="session")
def form_pages(
    settings: ContactsSettings, database: Database, lookup: FormLookup, identity: IdentityPeer
) -> FormPageApi:
    links = ConfirmationLinks(settings.link_keys, settings.public_url)
    return FormPageApi(database, lookup, links, identity, SealedMails(mail_wrapping_of(settings)))


@pytest.fixture(scope="session")
async def server(
    settings: ContactsSettings,
    database: Database,
    workers: Workers,
    form_pages: FormPageApi,
    identity: IdentityPeer,
) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("contacts", settings.stamp_trusted_keys)
    server = RpcServer("contacts", "127.0.0.1:0", verifier, database)
    server.add(
        ContactApi(),
        ListApi(),
        TagApi(),
        CustomFieldApi(begun=workers.bulk_changes.wake.set),
        SegmentApi(),
        BulkChangeApi(begun=workers.bulk_changes.wake.set),
        ImportApi(database, created=workers.imports.wake.set),
        ExportApi(database),
        FormApi(settings.public_url),
        form_pages,
        AudienceApi(database),
        ListChoiceApi(),
        ContactUsageApi(),
        WorkflowContactApi(database),
        SyncedContactApi(database, identity),
    )
    async with server:
        yield server


@pytest.fixture(scope="session")
def peer_as(server: RpcServer, service_environment: Callable[[str], dict[str, str]]) -> Callable[[str], Peer]:
    """The contacts process as another process calls it, once entered."""

    def peer(process: str) -> Peer:
        key = Secret(service_environment(process)["STAMP_PRIVATE_KEY"])
        return Peer(f"127.0.0.1:{server.port}", "contacts", Stamper(process, key))

    return peer


@pytest.fixture(scope="session")
async def gateway(peer_as: Callable[[str], Peer]) -> AsyncIterator[Peer]:
    async with peer_as("gateway") as peer:
        yield peer


@pytest.fixture
def tenant(gateway: Peer, database: Database, workers: Workers) -> Tenant:
    return Tenant(gateway, database, workers)


@pytest.fixture
def stranger(gateway: Peer, database: Database, workers: Workers) -> Tenant:
    """A member of another organization."""
    return Tenant(gateway, database, workers)
