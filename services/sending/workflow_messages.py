"""The messages of workflows: taken in as sets, in one statement that looks at the suppression list, counts and writes.

A set is a batch of its own. What is refused is not written; whoever sends says what becomes of the contact then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from chassis.database import TenantSession
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from flownurture.workflows.v1.events_pb2 import WorkflowMailsRequested
from services.sending import usage
from services.sending.categories import STANDS_AGAINST, Category
from services.sending.statuses import BatchStatus, SuppressionReason
from services.sending.usage import Allowance, EmailLimitReached

MOST_SENDS = 500

_ORDER = [reason.value for reason in SuppressionReason]
_ACCEPTED = "(known_id IS NULL AND reason IS NULL AND number < (SELECT number FROM beyond))"
# As it is for one-off messages, whose texts go over in the binary form too.
_TAKE_IN = f"""
    WITH judged AS MATERIALIZED (
        SELECT message.*, known.message_id AS known_id, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(%(order)s::text[], suppression.reason) LIMIT 1
        ) AS reason
        FROM (
            SELECT *, '{Category.MARKETING.value}' AS category
            FROM unnest(
                %(ids)b::uuid[], %(effect_ids)b::uuid[], %(enrollment_ids)b::uuid[], %(workflow_ids)b::uuid[],
                %(step_ids)b::text[], %(mail_ids)b::uuid[], %(contact_ids)b::uuid[], %(emails)b::text[],
                %(digests)b::bytea[], %(merge_fields)b::text[]
            ) WITH ORDINALITY AS send (
                id, effect_id, enrollment_id, workflow_id, step_id, mail_id, contact_id, email, email_digest,
                merge_fields, number
            )
        ) AS message
        LEFT JOIN workflow_messages AS known ON known.effect_id = message.effect_id
    ), wanted AS (
        SELECT number FROM judged WHERE known_id IS NULL AND reason IS NULL
    ), taken AS (
        {usage.TAKE_WANTED}
    ), beyond AS (
        -- The first for which there is no place.
        SELECT coalesce((
            SELECT number FROM wanted
            ORDER BY number OFFSET coalesce((SELECT places FROM taken), 0) LIMIT 1
        ), %(size)s::bigint + 1) AS number
    ), batch AS (
        INSERT INTO batches (id, status, size, usage_cycle)
        SELECT %(batch_id)s::uuid, '{BatchStatus.REQUESTED.value}', count(*), %(cycle)s::timestamptz
        FROM judged WHERE {_ACCEPTED}
        HAVING count(*) > 0
    ), queued AS (
        INSERT INTO messages
            (id, batch_id, contact_id, email, email_digest, category, workflow_mail_id, merge_fields)
        SELECT id, %(batch_id)s::uuid, contact_id, email, email_digest, category, mail_id, merge_fields::jsonb
        FROM judged WHERE {_ACCEPTED}
    ), told AS (
        INSERT INTO workflow_messages (message_id, effect_id, enrollment_id, workflow_id, step_id)
        SELECT id, effect_id, enrollment_id, workflow_id, step_id FROM judged WHERE {_ACCEPTED}
    )
    SELECT number, known_id, reason FROM judged WHERE NOT {_ACCEPTED}
"""  # noqa: S608 - of our own words alone


@dataclass(frozen=True, slots=True)
class Send:
    """A step's mail to one contact. The effect makes it one message, however often it is told."""

    effect_id: UUID
    enrollment_id: UUID
    workflow_id: UUID
    step_id: str
    # Of the `WorkflowMail`.
    mail_id: UUID
    contact_id: UUID
    email: str
    digest: bytes
    # As `MergeFields.of_recipient` gives them; None where the mail names none.
    merge_fields: str | None = None
    # Of its message, if it becomes one.
    message_id: UUID = field(default_factory=new_id)


# What became of a send: the id of its message, why its address gets none, or that the plan's e-mails are used up.
Outcome: TypeAlias = UUID | SuppressionReason | EmailLimitReached


async def send_mails(
    session: TenantSession, sends: Sequence[Send], allowance: Allowance | None
) -> list[Outcome]:
    """Queue mails, at most `MOST_SENDS` and each effect once; answers what became of each, in their order.

    An effect that has its message already is answered with that. From here on until the transaction ends nobody else in the
    organization can count an e-mail. Raises Unavailable when nobody can tell what the plan allows (None).
    """
    if not sends:
        return []
    if allowance is None:
        raise Unavailable("What the plan allows cannot be told at the moment.")
    ids, batch_id = [send.message_id for send in sends], new_id()
    answer = await session.driver.execute(
        _TAKE_IN,
        {
            "ids": ids,
            "effect_ids": [send.effect_id for send in sends],
            "enrollment_ids": [send.enrollment_id for send in sends],
            "workflow_ids": [send.workflow_id for send in sends],
            "step_ids": [send.step_id for send in sends],
            "mail_ids": [send.mail_id for send in sends],
            "contact_ids": [send.contact_id for send in sends],
            "emails": [send.email for send in sends],
            "digests": [send.digest for send in sends],
            "merge_fields": [send.merge_fields for send in sends],
            "size": len(sends),
            "batch_id": batch_id,
            "order": _ORDER,
            "cycle": allowance.cycle_started_at,
            "limit": allowance.limit,
        },
    )
    others = {number - 1: (known, reason) for number, known, reason in await answer.fetchall()}
    if accepted := len(sends) - len(others):
        session.publish(WorkflowMailsRequested(batch_id=str(batch_id), message_count=accepted))
    return [
        _outcome(*others[place], allowance.limit) if place in others else message_id
        for place, message_id in enumerate(ids)
    ]


def _outcome(known: UUID | None, reason: str | None, limit: int) -> Outcome:
    if known is not None:
        return known
    return EmailLimitReached(limit) if reason is None else SuppressionReason(reason)
