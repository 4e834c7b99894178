"""Contacts into lists and out of them, tags on and off: many contacts, one list or tag, and everybody is told."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from chassis.database import TenantSession
from services.contacts.announcements import announce_joined, announce_tag_added
from services.contacts.events import Origin
from services.contacts.lists import join, leave
from services.contacts.tags import tag_contacts, untag_contacts


class Move(StrEnum):
    """What is done to each contact with the list or tag."""

    ADD_TO_LIST = "add_to_list"
    REMOVE_FROM_LIST = "remove_from_list"
    ADD_TAG = "add_tag"
    REMOVE_TAG = "remove_tag"


ABOUT_LISTS = frozenset((Move.ADD_TO_LIST, Move.REMOVE_FROM_LIST))


async def move_contacts(
    session: TenantSession, move: Move, target_id: UUID, contact_ids: Sequence[UUID], origin: Origin
) -> set[UUID]:
    """Move contacts that are held with a list or tag that is; answers which were not so before, for `announce_updated`."""
    pairs = [(contact_id, target_id) for contact_id in contact_ids]
    match move:
        case Move.ADD_TO_LIST:
            joined = await join(session, pairs, origin)
            announce_joined(session, joined, origin.source)
            return {contact_id for contact_id, _ in joined}
        case Move.ADD_TAG:
            tagged = await tag_contacts(session, pairs, origin)
            announce_tag_added(session, tagged, origin.source)
            return {contact_id for contact_id, _ in tagged}
        case Move.REMOVE_FROM_LIST:
            return await leave(session, contact_ids, [target_id], origin)
        case Move.REMOVE_TAG:
            return await untag_contacts(session, contact_ids, [target_id], origin)
