"""Forgetting a person: what tells who got a message goes, what became of it stays."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.sending import usage
from services.sending.batches import settle_free
from services.sending.frequency_cap import forget_places
from services.sending.statuses import SuppressionReason
from services.sending.suppression.veto import Veto, announce_vetoes

# A campaign's messages are the contact's, the others are known by the address alone.
_THEIRS = """
    (message.contact_id = ANY(CAST(:contact_ids AS uuid[]))
     OR (message.contact_id IS NULL AND message.email_digest = ANY(CAST(:digests AS bytea[]))))
"""
# What nobody has claimed goes to nobody any more.
_VETO = text(f"""
    WITH free AS (
        SELECT id FROM batches
        WHERE lease_token IS NULL AND id IN (
            SELECT batch_id FROM messages AS message WHERE {_THEIRS} AND message.status IN ('queued', 'deferred')
        )
        ORDER BY id FOR UPDATE
    ), vetoed AS (
        UPDATE messages AS message
        SET status = 'vetoed', veto_reason = 'erased', next_attempt_at = NULL, settled_at = now(),
            merge_fields = NULL
        FROM free
        WHERE message.batch_id = free.id AND {_THEIRS} AND message.status IN ('queued', 'deferred')
        RETURNING message.id, message.batch_id, message.campaign_id, message.contact_id
    )
    SELECT * FROM vetoed ORDER BY campaign_id, batch_id
""")  # noqa: S608 - of our own names alone
# The links of a message go on working: they carry the address' digest themselves.
_FORGET = text(f"""
    WITH forgotten AS (
        UPDATE messages AS message
        SET email = '', email_digest = decode(repeat('00', 32), 'hex'), smtp_reply = '', merge_fields = NULL
        WHERE {_THEIRS} AND message.status NOT IN ('queued', 'deferred')
        RETURNING message.id
    ), contents AS (
        DELETE FROM message_contents USING forgotten WHERE message_contents.message_id = forgotten.id
    ), findings AS (
        UPDATE feedback_findings SET email_digest = decode(repeat('00', 32), 'hex') FROM forgotten
        WHERE feedback_findings.message_id = forgotten.id
    )
    UPDATE message_events SET detail = '' FROM forgotten
    WHERE message_events.message_id = forgotten.id
""")  # noqa: S608
_FORGET_ON_LIST = text("""
    UPDATE suppressions SET email = '', note = '' WHERE email_digest = ANY(CAST(:digests AS bytea[]))
""")
_ON_THE_WIRE = text(f"""
    SELECT count(*) FROM messages AS message WHERE {_THEIRS} AND message.status IN ('queued', 'deferred')
""")  # noqa: S608


async def forget(session: TenantSession, contact_ids: Sequence[UUID], digests: Sequence[bytes]) -> int:
    """Forget these people, as contacts and as addresses; why they get no mail stays on the list, by digest.

    Answers how many messages to them are being handed over at this moment: those have to be forgotten once they are settled.
    """
    theirs = {"contact_ids": list(contact_ids), "digests": list(digests)}
    vetoed = (await session.execute(_VETO, theirs)).all()
    for campaign_id, group in groupby(vetoed, key=lambda row: row.campaign_id):
        vetoes = [Veto(row.id, row.contact_id, SuppressionReason.ERASED) for row in group]
        announce_vetoes(session, campaign_id, vetoes)
    batches = Counter(row.batch_id for row in vetoed)
    await usage.give_back_all(session, batches)
    # They may have been the last that a campaign waited for.
    await settle_free(session, batches)
    await session.execute(_FORGET, theirs)
    await session.execute(_FORGET_ON_LIST, {"digests": list(digests)})
    await forget_places(session, digests)
    return int(await session.scalar(_ON_THE_WIRE, theirs))
