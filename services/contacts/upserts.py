"""Contacts that are created or changed by their address, one or many in one go: how API, imports and forms write them.

What is written never changes a status: it follows from the suppressed addresses, whatever a file, a client or a form says.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from uuid import UUID

import orjson
from sqlalchemy import TextClause, text

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from flownurture.contacts.v1 import contacts_pb2
from services.contacts import lists, tags, usage
from services.contacts.announcements import (
    announce_created,
    announce_joined,
    announce_tag_added,
    announce_updated,
)
from services.contacts.changed_fields import CHANGED_FIELDS, ChangedFields
from services.contacts.contact_messages import as_message
from services.contacts.contact_rows import read_contacts
from services.contacts.events import Origin
from services.contacts.statuses import STATUS_OF_GIVEN, hold_statuses


@dataclass(frozen=True, slots=True)
class Upsert:
    """What is to be known of whoever has an address. None leaves a name or zone as it is; lists and tags are added."""

    email: EmailAddress
    first_name: str | None = None
    last_name: str | None = None
    time_zone: str | None = None
    # Of custom fields, by their numbers; None takes a value away, what is not named stays.
    values: Mapping[str, object | None] = field(default_factory=dict)
    list_ids: frozenset[UUID] = frozenset()
    tag_ids: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Upserted:
    """Which contact it became, and whether it was created by it."""

    contact_id: UUID
    created: bool


_GIVEN = """unnest(
    CAST(:ids AS uuid[]), CAST(:emails AS text[]), CAST(:digests AS bytea[]),
    CAST(:first_names AS text[]), CAST(:last_names AS text[]), CAST(:time_zones AS text[]),
    CAST(:customs AS text[])
) AS given (id, email, email_digest, first_name, last_name, time_zone, custom)"""
_MERGED = "jsonb_strip_nulls(contact.custom_fields || CAST(given.custom AS jsonb))"


def upsert_statement(given: str) -> TextClause:
    """The statement that writes the rows of `given`, which is named so, and tells what became of each.

    Its parameters are `source`, `source_id`, `moment`, `import_id`, `only_new`; `list_id`, what all of them join, or None; and `terse`:
    to be silent of those who were created, subscribed, and joined, under the id that was given. An import leaves its mark on every
    contact it meets: what it has `seen` already belongs to an earlier row, and stays as it is. Nobody else gives a contact an
    address meanwhile (`hold_statuses`, `usage`), so what is not there at the beginning is not there when it is inserted.
    """
    return text(f"""
        WITH given AS MATERIALIZED (
            SELECT given.*, contact.id AS contact_id,
                   coalesce(contact.last_import_id = CAST(:import_id AS uuid), false) AS seen
            FROM {given} LEFT JOIN contacts AS contact ON contact.email_digest = given.email_digest
        ), created AS (
            INSERT INTO contacts
                (id, email, email_digest, first_name, last_name, time_zone, custom_fields, status, last_import_id,
                 created_at, updated_at)
            SELECT id, email, email_digest, coalesce(first_name, ''), coalesce(last_name, ''),
                   coalesce(time_zone, ''), jsonb_strip_nulls(CAST(custom AS jsonb)), {STATUS_OF_GIVEN}, CAST(:import_id AS uuid),
                   CAST(:moment AS timestamptz), CAST(:moment AS timestamptz)
            FROM given WHERE contact_id IS NULL
            RETURNING id, status
        ), noted AS (
            INSERT INTO contact_events (contact_id, type, source, source_id)
            SELECT id, CASE status WHEN 'subscribed' THEN 'subscribed' ELSE 'created' END, :source,
                   CAST(:source_id AS uuid)
            FROM created
        ), known AS (
            SELECT contact.id, :only_new OR (
                coalesce(given.first_name, contact.first_name), coalesce(given.last_name, contact.last_name),
                coalesce(given.time_zone, contact.time_zone), {_MERGED}
            ) = (contact.first_name, contact.last_name, contact.time_zone, contact.custom_fields) AS stays,
                given.first_name, given.last_name, given.time_zone, given.custom
            FROM given JOIN contacts AS contact ON contact.id = given.contact_id WHERE NOT given.seen
        ), changed AS (
            UPDATE contacts AS contact SET
                first_name = CASE WHEN stays THEN contact.first_name
                                  ELSE coalesce(given.first_name, contact.first_name) END,
                last_name = CASE WHEN stays THEN contact.last_name
                                 ELSE coalesce(given.last_name, contact.last_name) END,
                time_zone = CASE WHEN stays THEN contact.time_zone
                                 ELSE coalesce(given.time_zone, contact.time_zone) END,
                custom_fields = CASE WHEN stays THEN contact.custom_fields ELSE {_MERGED} END,
                updated_at = CASE WHEN stays THEN contact.updated_at ELSE now() END,
                last_import_id = coalesce(CAST(:import_id AS uuid), contact.last_import_id)
            FROM known AS given
            WHERE contact.id = given.id AND (NOT stays OR CAST(:import_id AS uuid) IS NOT NULL)
            RETURNING new.id, {CHANGED_FIELDS} AS fields
        ), joined AS (
            INSERT INTO memberships (list_id, contact_id, source)
            SELECT CAST(:list_id AS uuid), id, :source
            FROM (SELECT coalesce(contact_id, id) AS id, email_digest FROM given WHERE NOT seen) AS met
            WHERE CAST(:list_id AS uuid) IS NOT NULL AND NOT EXISTS (
                SELECT FROM list_refusals AS refusal
                WHERE refusal.list_id = CAST(:list_id AS uuid) AND refusal.email_digest = met.email_digest
            )
            ON CONFLICT DO NOTHING RETURNING contact_id
        ), noted_too AS (
            INSERT INTO contact_events (contact_id, type, source, source_id, about_id)
            SELECT contact_id, 'list_joined', :source, CAST(:source_id AS uuid), CAST(:list_id AS uuid) FROM joined
        )
        SELECT given.email_digest, coalesce(given.contact_id, given.id) AS contact_id,
               given.contact_id IS NULL AS created, known.stays IS FALSE AS changed,
               changed.fields AS changed_fields, joined.contact_id IS NOT NULL AS joined, created.status, given.seen
        FROM given LEFT JOIN known ON known.id = given.contact_id LEFT JOIN created ON created.id = given.id
        LEFT JOIN changed ON changed.id = given.contact_id
        LEFT JOIN joined ON joined.contact_id = coalesce(given.contact_id, given.id)
        WHERE NOT (:terse AND coalesce(created.status = 'subscribed', false)
                   AND (CAST(:list_id AS uuid) IS NULL OR joined.contact_id IS NOT NULL))
    """)  # noqa: S608 - of our own names alone


_UPSERT = upsert_statement(_GIVEN)


async def upsert(session: TenantSession, people: Sequence[Upsert], origin: Origin) -> list[Upserted]:
    """Create or change the contacts of these people, each address once; answers in their order, and tells of it.

    Raises ContactLimitReached when the plan has no place for all who are new, NotFound for a list that does not exist.
    """
    await _hold_targets(session, people)
    places = await usage.places_left(session, session.context.limit("contacts"))
    await hold_statuses(session)
    rows = (await session.execute(_UPSERT, _parameters(people, origin))).all()
    created = {row.contact_id for row in rows if row.created}
    if len(created) > places:
        raise usage.ContactLimitReached(session.context.limit("contacts"))
    await usage.take_places(session, len(created))
    ids = {bytes(row.email_digest): row.contact_id for row in rows}
    joined = await lists.join(
        session, [(ids[digest], each) for digest, each in _of(people, "list_ids")], origin
    )
    tagged = await tags.tag_contacts(
        session, [(ids[digest], each) for digest, each in _of(people, "tag_ids")], origin
    )
    changed = {row.contact_id: row.changed_fields for row in rows if row.changed}
    await announce_upserted(session, Effect(created, changed, joined, tagged), origin)
    return [Upserted(ids[person.email.digest], ids[person.email.digest] in created) for person in people]


@dataclass(frozen=True, slots=True)
class Effect:
    """What an upsert brought about: contacts created, changed in themselves, joined to lists, tagged.

    Of who is changed, which fields. Those that are known as messages already need not be read.
    """

    created: Collection[UUID]
    changed: ChangedFields
    joined: Sequence[lists.Pair]
    tagged: Sequence[tags.Pair]
    known: Mapping[UUID, contacts_pb2.Contact] = field(default_factory=dict)


async def announce_upserted(session: TenantSession, effect: Effect, origin: Origin) -> None:
    """Tell of it: who is new first, then who is different, then who is where."""
    moved = {contact_id for contact_id, _ in (*effect.joined, *effect.tagged)}
    unknown = {*effect.created, *effect.changed, *moved} - effect.known.keys()
    told = await read_contacts(session, unknown) if unknown else []
    created = map(as_message, (contact for contact in told if contact.id in effect.created))
    announce_created(session, chain(effect.known.values(), created), origin)
    updated = (contact for contact in told if contact.id not in effect.created)
    announce_updated(session, updated, effect.changed, origin)
    announce_joined(session, effect.joined, origin.source)
    announce_tag_added(session, effect.tagged, origin.source)


async def _hold_targets(session: TenantSession, people: Sequence[Upsert]) -> None:
    if list_ids := {list_id for person in people for list_id in person.list_ids}:
        await lists.hold_lists(session, list_ids)
    if tag_ids := {tag_id for person in people for tag_id in person.tag_ids}:
        await tags.hold_tags(session, tag_ids)


def _of(people: Sequence[Upsert], name: str) -> Iterator[tuple[bytes, UUID]]:
    for person in people:
        for target_id in getattr(person, name):
            yield person.email.digest, target_id


def _parameters(people: Sequence[Upsert], origin: Origin) -> dict[str, object]:
    return {
        "ids": [new_id() for _ in people],
        "emails": [person.email.text for person in people],
        "digests": [person.email.digest for person in people],
        "first_names": [person.first_name for person in people],
        "last_names": [person.last_name for person in people],
        "time_zones": [person.time_zone for person in people],
        "customs": [orjson.dumps(person.values).decode() if person.values else "{}" for person in people],
        "source": origin.source.value,
        "source_id": origin.id,
        "import_id": None,
        "only_new": False,
        "list_id": None,
        "terse": False,
        "moment": datetime.now(UTC),
    }
