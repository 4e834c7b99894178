"""One-off messages: taken in as sets, in one statement that looks at the suppression list, counts and writes.

A set is a batch of its own. Of its letters each is accepted or refused for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import exists, select, text

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import DomainError, FailedPrecondition
from chassis.identifiers import new_id
from flownurture.sending.v1.events_pb2 import MessagesRequested
from services.sending import usage
from services.sending.bodies import Body, SealedBody
from services.sending.categories import IS_CAPPED, RULES, STANDS_AGAINST, Category
from services.sending.frequency_cap import CAP, HOLD_CAP, taken
from services.sending.messages import Message
from services.sending.statuses import BatchStatus, MessageStatus, SuppressionReason
from services.sending.tables import messages
from services.sending.usage import Allowance, EmailLimitReached

MOST_LETTERS = 500

_ORDER = [reason.value for reason in SuppressionReason]

# Of two deliveries of one order the second sees what the first has done.
_ONE_AFTER_ANOTHER = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('sending.message:' || :message_id, 0))"
)
# What is to be read of a body that is sealed.
_SEALED = Body("", "")
_ACCEPTED = "(reason IS NULL AND number < (SELECT number FROM full_at))"
# Texts go over in the binary form: in the other each would be searched for what to escape.
_TAKE_IN = f"""
    WITH {CAP}, looked AS MATERIALIZED (
        SELECT message.*, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(%(order)s::text[], suppression.reason) LIMIT 1
        ) AS reason
        FROM unnest(
            %(ids)b::uuid[], %(emails)b::text[], %(digests)b::bytea[], %(categories)b::text[],
            %(from_names)b::text[], %(from_emails)b::text[], %(subjects)b::text[], %(htmls)b::text[], %(texts)b::text[],
            %(sealed_bodies)b::bytea[]
        ) WITH ORDINALITY AS message (
            id, email, email_digest, category, from_name, from_email, subject, html, text, sealed_body, number
        )
    ), beyond AS MATERIALIZED (
        SELECT wanted.id FROM cap CROSS JOIN (
            SELECT id, email_digest, row_number() OVER (PARTITION BY email_digest ORDER BY number) AS number
            FROM looked AS message WHERE reason IS NULL AND {IS_CAPPED} AND EXISTS (SELECT FROM cap)
        ) AS wanted
        WHERE wanted.number + (SELECT count(*) FROM ({taken("now()", "SELECT id FROM looked")}) AS taken) > cap.messages
    ), judged AS MATERIALIZED (
        SELECT looked.id, looked.email, looked.email_digest, looked.category, looked.from_name, looked.from_email, looked.subject,
               looked.html, looked.text, looked.sealed_body, looked.number,
               coalesce(looked.reason, CASE WHEN beyond.id IS NOT NULL THEN 'frequency_cap' END) AS reason
        FROM looked LEFT JOIN beyond ON beyond.id = looked.id
    ), wanted AS (
        SELECT number FROM judged WHERE reason IS NULL
    ), taken AS (
        {usage.TAKE_WANTED}
    ), full_at AS (
        -- The first for which the plan has no place.
        SELECT coalesce((
            SELECT number FROM wanted
            ORDER BY number OFFSET coalesce((SELECT places FROM taken), %(size)s::bigint) LIMIT 1
        ), %(size)s::bigint + 1) AS number
    ), batch AS (
        INSERT INTO batches (id, status, size, usage_cycle)
        SELECT %(batch_id)s::uuid, '{BatchStatus.REQUESTED.value}', count(*), %(cycle)s::timestamptz
        FROM judged WHERE {_ACCEPTED}
        HAVING count(*) > 0
    ), queued AS (
        INSERT INTO messages (id, batch_id, email, email_digest, category)
        SELECT id, %(batch_id)s::uuid, email, email_digest, category FROM judged WHERE {_ACCEPTED}
    ), placed AS (
        INSERT INTO frequency_places (email_digest, message_id)
        SELECT email_digest, id FROM judged AS message WHERE {_ACCEPTED} AND {IS_CAPPED} AND EXISTS (SELECT FROM cap)
    ), contents AS (
        INSERT INTO message_contents (message_id, from_name, from_email, subject, html, text, sealed_body)
        SELECT id, from_name, from_email, subject, html, text, sealed_body FROM judged WHERE {_ACCEPTED}
    )
    SELECT now() AS accepted_at, refused.number, refused.reason
    FROM (VALUES (0)) AS always
    LEFT JOIN (SELECT number, reason FROM judged WHERE NOT {_ACCEPTED}) AS refused ON true
"""  # noqa: S608 - of our own words alone


@dataclass(frozen=True, slots=True)
class Letter:
    """What a one-off message says, and to whom."""

    to: EmailAddress
    from_email: str
    from_name: str
    subject: str
    # Sealed where its link lets in whoever has it: only who hands it over opens it.
    body: Body | SealedBody
    category: Category = Category.TRANSACTIONAL


# What became of a letter: it is a message, or why it is none.
Outcome: TypeAlias = Message | DomainError


class Suppressed(FailedPrecondition):
    """The recipient must not get this mail."""

    def __init__(self, reason: SuppressionReason) -> None:
        words = reason.value.replace("_", " ")
        super().__init__(f"The recipient is suppressed: {words}.", reason="SUPPRESSED")


class FrequencyCapReached(FailedPrecondition):
    """The recipient has had as much marketing as the organization's sending policy allows."""

    def __init__(self) -> None:
        super().__init__(
            "The recipient has had as many marketing mails as the sending policy allows.",
            reason="FREQUENCY_CAP_REACHED",
        )


async def send_letters(session: TenantSession, letters: Sequence[Letter]) -> list[Outcome]:
    """Queue letters, at most `MOST_LETTERS`; answers what became of each, in their order.

    One is refused with Suppressed, with FrequencyCapReached, or with EmailLimitReached when those before it have used the plan's e-mails up. Raises
    Unavailable when nobody can tell what the plan allows.
    """
    if not letters:
        return []
    return await _take_in(session, [new_id() for _ in letters], letters, usage.allowance_of(session.context))


async def send_letter_once(session: TenantSession, message_id: UUID, letter: Letter) -> None:
    """Queue a letter under this id, unless there is one. Raises Suppressed, FrequencyCapReached, EmailLimitReached."""
    await session.execute(_ONE_AFTER_ANOTHER, {"message_id": str(message_id)})
    if await session.scalar(select(exists().where(messages.c.id == message_id))):
        return
    allowance = usage.allowance_of(session.context) if RULES[letter.category].counts else None
    (outcome,) = await _take_in(session, [message_id], [letter], allowance)
    if isinstance(outcome, DomainError):
        raise outcome


async def _take_in(
    session: TenantSession, ids: Sequence[UUID], letters: Sequence[Letter], allowance: Allowance | None
) -> list[Outcome]:
    batch_id = new_id()
    bodies = [letter.body if isinstance(letter.body, Body) else _SEALED for letter in letters]
    answer = session.driver.cursor()
    async with session.driver.pipeline():
        if any(RULES[letter.category].is_capped for letter in letters):
            await session.driver.execute(HOLD_CAP)
        await answer.execute(
            _TAKE_IN,
            {
                "ids": list(ids),
                "emails": [letter.to.text for letter in letters],
                "digests": [letter.to.digest for letter in letters],
                "categories": [letter.category.value for letter in letters],
                "from_names": [letter.from_name for letter in letters],
                "from_emails": [letter.from_email for letter in letters],
                "subjects": [letter.subject for letter in letters],
                "htmls": [body.html for body in bodies],
                "texts": [body.text for body in bodies],
                "sealed_bodies": [
                    letter.body.sealed if isinstance(letter.body, SealedBody) else None for letter in letters
                ],
                "size": len(letters),
                "batch_id": batch_id,
                "order": _ORDER,
                "cycle": allowance and allowance.cycle_started_at,
                "limit": allowance and allowance.limit,
            },
        )
    rows = await answer.fetchall()
    accepted_at = rows[0][0]
    refused = {number - 1: reason for _, number, reason in rows if number is not None}
    limit = allowance.limit if allowance else 0
    accepted = len(letters) - len(refused)
    if accepted:
        session.publish(MessagesRequested(batch_id=str(batch_id), message_count=accepted))
    return [
        _refusal(refused[place], limit) if place in refused else _queued(message_id, letter, accepted_at)
        for place, (message_id, letter) in enumerate(zip(ids, letters, strict=True))
    ]


def _refusal(reason: str | None, limit: int) -> DomainError:
    if reason is None:
        return EmailLimitReached(limit)
    if reason == SuppressionReason.FREQUENCY_CAP:
        return FrequencyCapReached()
    return Suppressed(SuppressionReason(reason))


def _queued(message_id: UUID, letter: Letter, accepted_at: datetime) -> Message:
    return Message(
        id=message_id,
        campaign_id=None,
        contact_id=None,
        email=letter.to.text,
        from_email=letter.from_email,
        subject=letter.subject,
        category=letter.category.value,
        status=MessageStatus.QUEUED.value,
        veto_reason=None,
        smtp_reply="",
        created_at=accepted_at,
        settled_at=None,
    )
