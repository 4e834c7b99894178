"""Only the recipient lifts an opt-out: every writer that there is tries to, and the database lets none without their confirmation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import psycopg
import pytest
from google.api.httpbody_pb2 import HttpBody
from psycopg.errors import InsufficientPrivilege, IntegrityError, RestrictViolation

from chassis.consumer import Consumer
from chassis.email_address import EmailAddress
from chassis.errors import Conflict
from chassis.identifiers import new_id
from deploy.database.bootstrap import DATABASE
from deploy.database.roles import role_list
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1 import events_pb2 as contacts_events
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import preferences_pb2, suppressions_pb2
from services.sending.consumers import ContactsReader
from services.sending.delivery.settings import DeliverySettings
from services.sending.preference_links import PreferenceLinks, Return
from services.sending.statuses import SuppressionReason
from services.sending.suppression.files import import_addresses
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.tenant import Tenant

READER = EmailAddress.parse("reader@example.com")
OPT_OUTS = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.COMPLAINT)
# Of all services: what imports contacts, and what syncs a CRM, is of others.
ROLES = [role.name for role in role_list().roles if role.name != "sending_owner"]

Connect = Callable[[str], psycopg.Connection[Any]]


@dataclass(frozen=True)
class Reader:
    """Somebody who opted out and complained."""

    tenant: Tenant
    return_url: Callable[[], str]

    async def reasons(self) -> set[str]:
        """Why they get no mail."""
        rows = await self.tenant.rows(
            "SELECT reason FROM suppressions WHERE email_digest = :digest", digest=READER.digest
        )
        return {row.reason for row in rows}

    async def refuse(self) -> None:
        """Opt out and complain."""
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            await suppress(session, [Suppressed(READER.digest, reason, READER.text) for reason in OPT_OUTS])

    async def come_back(self) -> None:
        """Press the button behind the link that was mailed to them."""
        token = self.return_url().rpartition("/")[2]
        await self.tenant(preferences_pb2.ChangePreferencesRequest(token=token, body=HttpBody()))


@pytest.fixture
async def reader(tenant: Tenant, settings: DeliverySettings) -> Reader:
    links = PreferenceLinks(settings.link_keys, settings.public_url)

    def return_url() -> str:
        until = datetime.now(UTC) + timedelta(days=7)
        return links.return_url(tenant.context.organization, READER.digest, until)

    reader = Reader(tenant, return_url)
    await reader.refuse()
    return reader


@pytest.fixture
def connect(servers: Any, tenant: Tenant) -> Iterator[Connect]:
    """A connection as any role of the platform, which acts for the reader's organization."""
    connections: list[psycopg.Connection[Any]] = []

    def connect(role: str) -> psycopg.Connection[Any]:
        password = servers.secrets.database_roles[role]
        url = f"postgresql://{role}:{password}@{servers.addresses.database}/{DATABASE}"
        connection = psycopg.connect(url, autocommit=True)
        connections.append(connection)
        organization = str(tenant.context.organization)
        connection.execute("SELECT set_config('app.organization_id', %s, false)", [organization])
        return connection

    yield connect
    for connection in connections:
        connection.close()


# What somebody might write, by what it would come to.
STATEMENTS: Mapping[str, str] = {
    "delete": "DELETE FROM sending.suppressions",
    "delete one": "DELETE FROM sending.suppressions WHERE reason = 'complaint'",
    "truncate": "TRUNCATE sending.suppressions",
    "another reason": "UPDATE sending.suppressions SET reason = 'manual' WHERE reason = 'unsubscribe'",
    "another address": "UPDATE sending.suppressions SET email_digest = sha256('other')",
    "another organization": "UPDATE sending.suppressions SET organization_id = gen_random_uuid()",
    "an earlier date": "UPDATE sending.suppressions SET reaffirmed_at = '-infinity'",
    "upsert": """
        INSERT INTO sending.suppressions (email_digest, reason) SELECT email_digest, reason FROM sending.suppressions
        ON CONFLICT (organization_id, email_digest, reason) DO UPDATE SET reason = 'hard_bounce'
    """,
    "upsert with an earlier date": """
        INSERT INTO sending.suppressions (email_digest, reason) SELECT email_digest, reason FROM sending.suppressions
        ON CONFLICT (organization_id, email_digest, reason) DO UPDATE SET reaffirmed_at = now() - interval '1 year'
    """,
    "merge": """
        MERGE INTO sending.suppressions AS entry USING (SELECT 1) AS given ON entry.reason = 'unsubscribe'
        WHEN MATCHED THEN DELETE
    """,
    "a ledger of one's own": """
        CREATE TEMPORARY TABLE resubscriptions AS
        SELECT organization_id, email_digest, now() + interval '1 day' AS confirmed_at FROM sending.suppressions;
        SET search_path = pg_temp, sending;
        DELETE FROM sending.suppressions
    """,
    "an entry on the ledger": """
        INSERT INTO sending.resubscriptions (email_digest, confirmed_at, event_id)
        SELECT email_digest, now(), gen_random_uuid() FROM sending.suppressions
    """,
    "a ledger without a key": "ALTER TABLE sending.resubscriptions DISABLE ROW LEVEL SECURITY",
    "an erasure": """
        INSERT INTO sending.erasures (organization_id) SELECT current_setting('app.organization_id')::uuid;
        DELETE FROM sending.suppressions
    """,
    "an erasure of one's own": """
        CREATE TEMPORARY TABLE erasures AS SELECT DISTINCT organization_id FROM sending.suppressions;
        SET search_path = pg_temp, sending;
        DELETE FROM sending.suppressions
    """,
    "no trigger": "ALTER TABLE sending.suppressions DISABLE TRIGGER ALL",
    "no triggers at all": "SET session_replication_role = replica",
    "another function": "ALTER FUNCTION sending.keep_opt_out() RENAME TO kept",
}


@pytest.mark.parametrize("role", ROLES)
async def test_no_role_lifts_an_opt_out_by_sql(reader: Reader, connect: Connect, role: str) -> None:
    connection = connect(role)
    for attempt, statement in STATEMENTS.items():
        with pytest.raises((RestrictViolation, InsufficientPrivilege)):
            connection.execute(statement)
        assert await reader.reasons() == set(OPT_OUTS), attempt


async def test_the_owner_sees_no_opt_out_to_lift(reader: Reader, connect: Connect) -> None:
    assert connect("sending_owner").execute("DELETE FROM sending.suppressions").rowcount == 0
    assert await reader.reasons() == set(OPT_OUTS)


async def test_that_another_organization_is_erased_lifts_no_opt_out(reader: Reader, connect: Connect) -> None:
    other = new_id()
    connect("sending_erasure").execute("INSERT INTO sending.erasures (organization_id) VALUES (%s)", [other])
    app = connect("sending_app")
    with pytest.raises(RestrictViolation):
        app.execute("DELETE FROM sending.suppressions")
    # Nor does a session that takes the other for its own reach them.
    app.execute("SELECT set_config('app.organization_id', %s, false)", [str(other)])
    assert app.execute("DELETE FROM sending.suppressions").rowcount == 0
    assert await reader.reasons() == set(OPT_OUTS)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "sending_erasure"])
async def test_one_role_alone_says_that_an_organization_is_erased(connect: Connect, role: str) -> None:
    connection = connect(role)
    for statement in (
        "INSERT INTO sending.erasures (organization_id) VALUES (gen_random_uuid())",
        "INSERT INTO sending.erasures DEFAULT VALUES",
        "UPDATE sending.erasures SET organization_id = gen_random_uuid()",
    ):
        with pytest.raises(InsufficientPrivilege):
            connection.execute(statement)


async def test_whoever_says_that_an_organization_is_erased_can_do_nothing_else(connect: Connect) -> None:
    connection = connect("sending_erasure")
    for statement in (
        "DELETE FROM sending.erasures",
        "UPDATE sending.erasures SET organization_id = gen_random_uuid()",
        "SELECT FROM sending.erasures WHERE organization_id IS NOT NULL",
        "DELETE FROM sending.suppressions",
        "SELECT FROM sending.suppressions WHERE organization_id IS NOT NULL",
    ):
        with pytest.raises(InsufficientPrivilege):
            connection.execute(statement)


async def test_the_ledger_loses_nothing_of_an_organization_that_is_not_erased(
    reader: Reader, connect: Connect
) -> None:
    await reader.come_back()
    assert await reader.tenant.rows("SELECT id FROM resubscriptions")
    assert connect("sending_app").execute("DELETE FROM sending.resubscriptions").rowcount == 0


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("sending_app", "UPDATE sending.resubscriptions SET confirmed_at = now()"),
        ("sending_app", "TRUNCATE sending.resubscriptions"),
        ("sending_consent", "UPDATE sending.resubscriptions SET confirmed_at = now()"),
        ("sending_consent", "DELETE FROM sending.resubscriptions"),
        ("sending_consent", "TRUNCATE sending.resubscriptions"),
    ],
)
async def test_the_ledger_is_only_ever_added_to(connect: Connect, role: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        connect(role).execute(statement)


@pytest.mark.parametrize(
    ("confirmed_at", "event_id", "link_good_until"),
    [
        ("now() + interval '1 hour'", "gen_random_uuid()", "NULL"),
        ("now()", "NULL", "NULL"),
        ("now()", "NULL", "now() - interval '1 minute'"),
        ("now()", "gen_random_uuid()", "now() + interval '1 day'"),
    ],
    ids=["dated ahead", "without proof", "by a link whose time is over", "with two proofs"],
)
async def test_the_ledger_takes_no_entry(
    tenant: Tenant, connect: Connect, confirmed_at: str, event_id: str, link_good_until: str
) -> None:
    with pytest.raises(IntegrityError):
        connect("sending_consent").execute(
            "INSERT INTO sending.resubscriptions (organization_id, email_digest, confirmed_at, event_id, link_good_until)"
            f" SELECT %s, %s, {confirmed_at}, {event_id}, {link_good_until}",
            [tenant.context.organization, READER.digest],
        )


async def test_the_api_lifts_no_opt_out(reader: Reader) -> None:
    for entry in (await reader.tenant(suppressions_pb2.ListSuppressionsRequest())).suppressions:
        with pytest.raises(Conflict):
            await reader.tenant(suppressions_pb2.DeleteSuppressionRequest(suppression_id=entry.id))
    manual = suppressions_pb2.CreateSuppressionRequest(
        email=READER.text, reason=messages_pb2.SUPPRESSION_REASON_MANUAL
    )
    entry = await reader.tenant(manual)
    await reader.tenant(suppressions_pb2.DeleteSuppressionRequest(suppression_id=entry.id))
    assert await reader.reasons() == set(OPT_OUTS)


async def test_an_import_into_the_list_lifts_no_opt_out(reader: Reader) -> None:
    file = BytesIO(f"email\n{READER.text}\n".encode())
    await import_addresses(reader.tenant.database, reader.tenant.context, file, "imported")
    assert await reader.reasons() == {*OPT_OUTS, SuppressionReason.MANUAL}


async def test_what_contacts_tell_lifts_no_opt_out_but_a_confirmation(
    reader: Reader, suppression_readers: list[Consumer]
) -> None:
    contact = contacts_pb2.Contact(id=str(new_id()), email=READER.text)
    erased = contacts_events.ContactsDeleted(contact_ids=[contact.id], email_digests=[READER.digest])
    events = [
        contacts_events.ContactsCreated(contacts=[contact]),
        contacts_events.ContactsUpdated(contacts=[contact]),
        contacts_events.ContactsSubscribed(contacts=[contact]),
        contacts_events.ImportCompleted(created_contacts=1),
        contacts_events.AddressChanged(
            contact_id=contact.id, old_email_digest=READER.digest, new_email_digest=bytes(32)
        ),
        contacts_events.FormSubmitted(contact=contact, submission_id=str(new_id())),
        erased,
    ]
    everybody = [*suppression_readers, *ContactsReader(reader.tenant.database).consumers(None)]  # type: ignore[arg-type]
    for event in events:
        await reader.tenant.hear(everybody, event)
    assert await reader.reasons() == set(OPT_OUTS)


async def test_a_confirmation_lifts_the_opt_out_and_is_on_the_ledger_with_its_proof(
    reader: Reader, suppression_readers: list[Consumer]
) -> None:
    event = contacts_events.AddressResubscribed(email_digest=READER.digest)
    event.confirmed_at.GetCurrentTime()
    event_id = await reader.tenant.hear(suppression_readers, event)
    await reader.tenant.hear(suppression_readers, event, event_id)
    assert await reader.reasons() == {"complaint"}
    await reader.refuse()
    # The event that is told again ends nothing that was said since.
    await reader.tenant.hear(suppression_readers, event, event_id)
    assert await reader.reasons() == set(OPT_OUTS)
    await reader.come_back()
    await reader.come_back()
    assert await reader.reasons() == {"complaint"}
    by_form, by_link = await reader.tenant.rows(
        "SELECT event_id, link_good_until FROM resubscriptions WHERE email_digest = :digest ORDER BY id",
        digest=READER.digest,
    )
    assert (by_form.event_id, by_form.link_good_until) == (event_id, None)
    assert by_link.event_id is None
    assert by_link.link_good_until > datetime.now(UTC)


async def test_a_confirmation_that_is_dated_ahead_ends_no_opt_out_that_is_yet_to_come(
    reader: Reader, suppression_readers: list[Consumer]
) -> None:
    event = contacts_events.AddressResubscribed(email_digest=READER.digest)
    event.confirmed_at.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    event_id = await reader.tenant.hear(suppression_readers, event)
    assert await reader.reasons() == {"complaint"}
    await reader.refuse()
    await reader.tenant.hear(suppression_readers, event, event_id)
    assert await reader.reasons() == set(OPT_OUTS)


async def test_a_confirmation_counts_in_its_own_organization_and_for_its_own_address(
    reader: Reader, stranger: Tenant, resubscriptions: Resubscriptions, connect: Connect
) -> None:
    link = Return(stranger.context, READER.digest, datetime.now(UTC) + timedelta(days=1))
    await resubscriptions.add_by_link(link)
    other = EmailAddress.parse("other@example.com").digest
    await resubscriptions.add_by_link(Return(reader.tenant.context, other, link.until))
    with pytest.raises(RestrictViolation):
        connect("sending_app").execute("DELETE FROM sending.suppressions")
    assert await reader.reasons() == set(OPT_OUTS)
