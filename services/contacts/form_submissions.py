"""What people submit by forms: kept until they confirm it by a click in a mail, and only then a contact.

Nobody is written to, or counted, because somebody else has typed their address. What is answered never tells whether an
address is known.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from sqlalchemy import Table, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import NotFound, RateLimited
from chassis.identifiers import new_id
from services.contacts.announcements import announce_resubscribed, announce_submitted
from services.contacts.contacts import get_contact
from services.contacts.events import EventType, Happening, Origin, Source, record
from services.contacts.forms import Form, get_form
from services.contacts.list_choices import forget_refusals, refuses_any
from services.contacts.sets import among
from services.contacts.statuses import refuses_mail
from services.contacts.tables import form_submissions, lists, tags
from services.contacts.upserts import Upsert, upsert

# Of one client, by all forms of an organization.
MOST_SUBMISSIONS = 10
SUBMISSIONS_WITHIN = timedelta(minutes=10)
# To one address.
MOST_MAILS = 3
MAILS_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class FilledIn:
    """A form as somebody has filled it in, from where."""

    email: EmailAddress
    first_name: str
    last_name: str
    # Of custom fields, by their numbers.
    values: Mapping[str, object]
    client_address: str


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted, and what became of it."""

    id: UUID
    form_id: UUID
    email: str
    first_name: str
    last_name: str
    custom_fields: Mapping[str, object]
    client_address: str
    consent_text: str
    created_at: datetime
    confirmed_at: datetime | None
    contact_id: UUID | None


class Next(Enum):
    """What is left to do for who has submitted a form."""

    NOTHING = auto()
    # A mail has been ordered for this submission.
    CONFIRM = auto()
    # As above, but they have been sent enough mails today.
    WAIT = auto()


_COLUMNS = [form_submissions.c[name] for name in Submission.__dataclass_fields__]


async def submit(session: TenantSession, form: Form, filled_in: FilledIn) -> tuple[Next, Submission | None]:
    """Keep what was filled in, and subscribe who did it where no confirmation is needed. Raises RateLimited."""
    await _hold(session, "client." + filled_in.client_address, "address." + filled_in.email.digest.hex())
    await _refuse_too_many(session, filled_in.client_address)
    if await _mails_sent(session, filled_in.email) >= MOST_MAILS:
        return Next.WAIT, None
    submission = await _keep(session, form, filled_in)
    # Who has opted out, of all mail or of a list, comes back by a click in a mail alone.
    if form.double_opt_in or await _has_refused(session, form, filled_in.email.digest):
        return Next.CONFIRM, submission
    await _subscribe(session, form, submission, confirmed_from=None)
    return Next.NOTHING, submission


async def get_submission(session: TenantSession, submission_id: UUID) -> tuple[Form, Submission]:
    """A submission and its form. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(form_submissions.c.id == submission_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound("subscription to confirm")
    submission = Submission(**row)
    return await get_form(session, submission.form_id), submission


async def confirm(session: TenantSession, submission_id: UUID, client_address: str) -> Form:
    """Subscribe who has confirmed; once, however often they do. Raises NotFound, ContactLimitReached."""
    await _hold(session, "submission." + str(submission_id))
    form, submission = await get_submission(session, submission_id)
    if submission.confirmed_at is None:
        await _subscribe(session, form, submission, confirmed_from=client_address)
    return form


async def page_submissions(
    session: TenantSession, form_id: UUID, *, before: UUID | None, size: int
) -> list[Submission]:
    """Up to `size` submissions of a form, newest first, that are older than `before`. Raises NotFound."""
    await get_form(session, form_id)
    held = form_submissions
    wanted = select(*_COLUMNS).where(held.c.form_id == form_id).order_by(held.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(held.c.id < before)
    return [Submission(**row) for row in (await session.execute(wanted)).mappings()]


async def _hold(session: TenantSession, *names: str) -> None:
    """Let nobody else do the same at the same time: two who count would both find a place."""
    for name in names:
        key = "contacts.forms." + func.current_setting("app.organization_id") + "." + literal(name)
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


async def _refuse_too_many(session: TenantSession, client_address: str) -> None:
    held = form_submissions
    recent = await session.scalar(
        select(func.count()).where(
            held.c.client_address == client_address, held.c.created_at > func.now() - SUBMISSIONS_WITHIN
        )
    )
    if recent >= MOST_SUBMISSIONS:
        raise RateLimited(
            "There were many submissions from where you are. Please try again in a while.",
            SUBMISSIONS_WITHIN.total_seconds(),
        )


async def _mails_sent(session: TenantSession, email: EmailAddress) -> int:
    held = form_submissions
    return int(
        await session.scalar(
            select(func.count()).where(
                held.c.email_digest == email.digest, held.c.created_at > func.now() - MAILS_WITHIN
            )
        )
    )


async def _keep(session: TenantSession, form: Form, filled_in: FilledIn) -> Submission:
    kept = await session.execute(
        insert(form_submissions)
        .values(
            id=new_id(),
            form_id=form.id,
            email=filled_in.email.text,
            email_digest=filled_in.email.digest,
            first_name=filled_in.first_name,
            last_name=filled_in.last_name,
            custom_fields=dict(filled_in.values),
            client_address=filled_in.client_address,
            consent_text=form.consent_text,
        )
        .returning(*_COLUMNS)
    )
    return Submission(**kept.mappings().one())


async def _has_refused(session: TenantSession, form: Form, digest: bytes) -> bool:
    return await refuses_mail(session, digest) or await refuses_any(session, digest, form.list_ids)


async def _subscribe(
    session: TenantSession, form: Form, submission: Submission, *, confirmed_from: str | None
) -> None:
    email = EmailAddress.parse(submission.email)
    had_opted_out = await refuses_mail(session, email.digest)
    if confirmed_from is not None:
        await forget_refusals(session, email.digest, form.list_ids)
    person = Upsert(
        email,
        submission.first_name or None,
        submission.last_name or None,
        values=submission.custom_fields,
        list_ids=frozenset(await _present(session, lists, form.list_ids)),
        tag_ids=frozenset(await _present(session, tags, form.tag_ids)),
    )
    (result,) = await upsert(session, [person], Origin(Source.FORM, form.id))
    await record(session, _consents(submission, result.contact_id, confirmed_from, had_opted_out))
    confirmed_at = await session.scalar(
        update(form_submissions)
        .where(form_submissions.c.id == submission.id)
        .values(confirmed_at=func.clock_timestamp(), contact_id=result.contact_id)
        .returning(form_submissions.c.confirmed_at)
    )
    if had_opted_out:
        announce_resubscribed(session, result.contact_id, form.id, email.digest, confirmed_at)
    announce_submitted(session, form.id, submission.id, await get_contact(session, result.contact_id))


def _consents(
    submission: Submission, contact_id: UUID, confirmed_from: str | None, had_opted_out: bool
) -> list[Happening]:
    """What the ledger keeps: what was shown to whom, and from where they agreed to it."""
    submitted = Happening(
        contact_id,
        EventType.FORM_SUBMITTED,
        Source.FORM,
        submission.form_id,
        text=submission.consent_text,
        client_address=submission.client_address,
        occurred_at=submission.created_at,
    )
    if confirmed_from is None:
        return [submitted]
    confirmed = EventType.RESUBSCRIBED if had_opted_out else EventType.CONFIRMED
    return [
        submitted,
        Happening(
            contact_id,
            confirmed,
            Source.FORM,
            submission.form_id,
            text=submission.consent_text,
            client_address=confirmed_from,
        ),
    ]


async def _present(session: TenantSession, table: Table, ids: Collection[UUID]) -> list[UUID]:
    """Those of a form's lists or tags that still exist."""
    found = await session.execute(select(table.c.id).where(among(table.c.id, ids)))
    return list(found.scalars())
