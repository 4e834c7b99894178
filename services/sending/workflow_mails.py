"""What the steps of a workflow write: each mail as it was when its version was made ready to run, whatever becomes of its template."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from chassis.contract.bounds import MOST_VIOLATIONS
from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import new_id, parse_id
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.bodies import Body
from services.sending.contents import Content
from services.sending.opt_out_footer import require_way_out
from services.sending.tables import workflow_mails
from services.sending.templates import require_contents
from services.sending.templating.mailing import compile_mailing
from services.sending.templating.merge_fields import MergeFields
from services.sending.tracking.campaign_links import keep_links

_Templates: TypeAlias = Mapping[UUID, Content | InvalidRequest]


@dataclass(frozen=True, slots=True)
class WorkflowMail:
    """The mail of a step, and what of each contact it needs to know beside the address."""

    id: UUID
    merge_fields: MergeFields


@dataclass(frozen=True, slots=True)
class _Mail:
    """What a step writes, and from whom."""

    step_id: str
    from_name: str
    from_email: str
    content: Content
    merge_fields: MergeFields


async def check_mails(session: TenantSession, document: pb.WorkflowDocument) -> list[FieldViolation]:
    """What is wrong with the mails of a document that is well otherwise, by the paths of its fields; at most 20."""
    _, wrong = await _read(session, document)
    return wrong


async def keep_mails(
    session: TenantSession, workflow_id: UUID, version: int, document: pb.WorkflowDocument
) -> None:
    """Keep what the steps of a version write. What is kept already stays as it is. Raises InvalidRequest."""
    mails, wrong = await _read(session, document)
    if wrong:
        raise InvalidRequest(*wrong)
    if not mails:
        return
    rows = [
        {
            "id": new_id(),
            "workflow_id": workflow_id,
            "version": version,
            "step_id": mail.step_id,
            "from_name": mail.from_name,
            "from_email": mail.from_email,
            "subject": mail.content.subject,
            "html": mail.content.body.html,
            "text": mail.content.body.text,
            "merge_fields": mail.merge_fields.kept,
        }
        for mail in mails
    ]
    added = await session.execute(
        insert(workflow_mails)
        .values(rows)
        .on_conflict_do_nothing(index_elements=["organization_id", "workflow_id", "version", "step_id"])
        .returning(workflow_mails.c.id, workflow_mails.c.html)
    )
    await keep_links(session, {row.id: row.html for row in added})


async def mails_of(session: TenantSession, workflow_id: UUID, version: int) -> Mapping[str, WorkflowMail]:
    """The mails of a version that runs, by the ids of their steps."""
    found = await session.execute(
        select(workflow_mails.c.step_id, workflow_mails.c.id, workflow_mails.c.merge_fields).where(
            workflow_mails.c.workflow_id == workflow_id, workflow_mails.c.version == version
        )
    )
    return {row.step_id: WorkflowMail(row.id, MergeFields.parse(row.merge_fields)) for row in found}


async def _read(
    session: TenantSession, document: pb.WorkflowDocument
) -> tuple[Sequence[_Mail], list[FieldViolation]]:
    """What a document's steps write, and what is wrong with that."""
    steps = {
        f"steps[{index}].send_email": step
        for index, step in enumerate(document.steps)
        if step.HasField("send_email")
    }
    named = {step.send_email.template_id for step in steps.values()} - {""}
    templates = await require_contents(session, list(map(parse_id, named)))
    # A hundred bodies of a million characters each take their time.
    return await asyncio.to_thread(_written, steps, templates)


def _written(
    steps: Mapping[str, pb.WorkflowStep], templates: _Templates
) -> tuple[Sequence[_Mail], list[FieldViolation]]:
    mails: list[_Mail] = []
    wrong: list[FieldViolation] = []
    for path, step in steps.items():
        try:
            mails.append(_mail(step.id, step.send_email, templates))
        except InvalidRequest as refused:
            wrong += (_at(path, step.send_email, violation) for violation in refused.violations)
    return mails, wrong[:MOST_VIOLATIONS]


def _mail(step_id: str, mail: pb.SendEmail, templates: _Templates) -> _Mail:
    """Raises InvalidRequest."""
    from_email = _address(mail.from_email)
    content = _content(mail, templates)
    mailing, paths = compile_mailing(content.subject, content.body.html, content.body.text)
    require_way_out(mailing)
    return _Mail(step_id, mail.from_name, from_email, content, MergeFields.of(paths))


def _address(text: str) -> str:
    try:
        return EmailAddress.parse(text).text
    except ValueError as error:
        raise InvalidRequest(FieldViolation("from_email", str(error))) from None


def _content(mail: pb.SendEmail, templates: _Templates) -> Content:
    if not mail.template_id:
        # As it is written: of a form that is derived nobody wants to be told what is wrong.
        compile_mailing(mail.subject, mail.html, mail.text)
        return Content(mail.subject, Body.of(mail.html, mail.text))
    content = templates[parse_id(mail.template_id)]
    if isinstance(content, InvalidRequest):
        raise content
    if not mail.subject and not content.subject:
        raise InvalidRequest(FieldViolation("subject", "must be given, since the template has none"))
    return Content(mail.subject or content.subject, content.body)


def _at(path: str, mail: pb.SendEmail, violation: FieldViolation) -> FieldViolation:
    """Where in the document it is wrong."""
    if mail.template_id and violation.field in ("html", "text"):
        told = f"cannot be used: its {violation.field} {violation.message}"
        return FieldViolation(f"{path}.template_id", told)
    return FieldViolation(f"{path}.{violation.field}", violation.message)
