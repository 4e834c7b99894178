"""What the steps of workflows do with contacts. What is not there any more, or no longer has such a value, is passed over.

The changes of one contact are made in their order, those of different contacts together.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

import orjson
from sqlalchemy import text

from chassis.database import TenantSession
from services.contacts.announcements import announce_updated
from services.contacts.changed_fields import CHANGED_FIELDS
from services.contacts.contact_rows import read_contacts
from services.contacts.custom_fields import CustomField, read_fields
from services.contacts.events import Origin
from services.contacts.field_settings import FieldSetting, ParsedSetting, parse_setting
from services.contacts.moves import ABOUT_LISTS, Move, move_contacts
from services.contacts.references import hold_for_change, hold_those_of
from services.contacts.tables import contacts, lists, tags


@dataclass(frozen=True, slots=True)
class Moved:
    """Into a list or out of it, or a tag on or off; and which workflow brought it about."""

    move: Move
    target_id: UUID
    origin: Origin


@dataclass(frozen=True, slots=True)
class ContactChange:
    """One change of one contact."""

    contact_id: UUID
    change: Moved | FieldSetting


# Contacts by what is done to them.
_Moves: TypeAlias = Mapping[Moved, Sequence[UUID]]
_Settings: TypeAlias = Mapping[UUID, ParsedSetting]

_MERGED = "jsonb_strip_nulls(contact.custom_fields || CAST(given.custom AS jsonb))"
_SET = text(f"""
    UPDATE contacts AS contact SET
        first_name = coalesce(given.first_name, contact.first_name),
        last_name = coalesce(given.last_name, contact.last_name), custom_fields = {_MERGED}, updated_at = now()
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:first_names AS text[]), CAST(:last_names AS text[]), CAST(:customs AS text[])
    ) AS given (id, first_name, last_name, custom)
    WHERE contact.id = given.id AND contact.id = ANY(CAST(:ids AS uuid[])) AND (
        coalesce(given.first_name, contact.first_name), coalesce(given.last_name, contact.last_name), {_MERGED}
    ) <> (contact.first_name, contact.last_name, contact.custom_fields)
    RETURNING new.id, {CHANGED_FIELDS} AS fields
""")  # noqa: S608 - of our own names alone


async def carry_out(session: TenantSession, changes: Sequence[ContactChange]) -> None:
    """Make these changes, as far as they still can be, and tell of what has become different."""
    held = await hold_for_change(session, contacts, {change.contact_id for change in changes})
    possible = [change for change in changes if change.contact_id in held]
    targets = await _hold_targets(session, possible)
    fields = await _fields(session, possible)
    moved: set[UUID] = set()
    changed: defaultdict[UUID, dict[str, None]] = defaultdict(dict)
    for turn in _turns(possible):
        for how, contact_ids in _moves(turn).items():
            if how in targets:
                moved |= await move_contacts(session, how.move, how.target_id, contact_ids, how.origin)
        for contact_id, names in (await _set(session, _settings(turn, fields))).items():
            changed[contact_id].update(dict.fromkeys(names))
    if moved or changed:
        told = await read_contacts(session, moved | changed.keys())
        announce_updated(session, told, {contact_id: tuple(names) for contact_id, names in changed.items()})


def _turns(changes: Iterable[ContactChange]) -> Iterable[list[ContactChange]]:
    """The first change of each contact, then the second of each that has one, and so on."""
    made: Counter[UUID] = Counter()
    turns: defaultdict[int, list[ContactChange]] = defaultdict(list)
    for change in changes:
        turns[made[change.contact_id]].append(change)
        made[change.contact_id] += 1
    return turns.values()


def _moves(turn: Iterable[ContactChange]) -> _Moves:
    contact_ids: defaultdict[Moved, list[UUID]] = defaultdict(list)
    for each in turn:
        if isinstance(each.change, Moved):
            contact_ids[each.change].append(each.contact_id)
    return contact_ids


async def _hold_targets(session: TenantSession, changes: Sequence[ContactChange]) -> Collection[Moved]:
    """Those of the moves whose list or tag is there; it stays until the transaction ends."""
    wanted = _moves(changes).keys()
    there: set[UUID] = set()
    for table, moves in (
        (lists, [moved for moved in wanted if moved.move in ABOUT_LISTS]),
        (tags, [moved for moved in wanted if moved.move not in ABOUT_LISTS]),
    ):
        if moves:
            there |= await hold_those_of(session, table, {moved.target_id for moved in moves})
    return {moved for moved in wanted if moved.target_id in there}


async def _fields(session: TenantSession, changes: Iterable[ContactChange]) -> Mapping[str, CustomField]:
    sets_any = any(isinstance(each.change, FieldSetting) for each in changes)
    return await read_fields(session) if sets_any else {}


def _settings(turn: Iterable[ContactChange], fields: Mapping[str, CustomField]) -> _Settings:
    settings = {}
    for each in turn:
        if isinstance(each.change, FieldSetting):
            try:
                settings[each.contact_id] = parse_setting(each.change, fields)
            except ValueError:
                # The field was deleted, or is another one of that key now.
                continue
    return settings


async def _set(session: TenantSession, settings: _Settings) -> Mapping[UUID, Sequence[str]]:
    """Which fields of whom became different."""
    if not settings:
        return {}
    changed = await session.execute(
        _SET,
        {
            "ids": list(settings),
            "first_names": [setting.first_name for setting in settings.values()],
            "last_names": [setting.last_name for setting in settings.values()],
            "customs": [orjson.dumps(setting.values).decode() for setting in settings.values()],
        },
    )
    return {row.id: row.fields for row in changed}
