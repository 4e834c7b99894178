"""Workflows of a bench, and who waits in them: some who are contacts, and a crowd that nobody asks about."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg
from google.protobuf import json_format

from bench.sending.stage import SIGNED_DOMAIN, Stage
from chassis.database import Database
from chassis.secret import Secret
from deploy.local.environment import process_environment
from flownurture.sending.v1.workflows_pb2 import WorkflowDocument
from services.sending.workflows.lifecycle import activate_workflow, create_workflow

_CROWD = """
    WITH enrolled AS (
        INSERT INTO sending.enrollments
            (organization_id, id, workflow_id, contact_id, email_digest, source, began_at)
        SELECT %(organization)s, uuidv7(), %(workflow)s, uuidv7(), sha256(n::text::bytea), 'api', now()
        FROM generate_series(1, %(size)s) AS n RETURNING id
    )
    INSERT INTO sending.enrollment_places
        (organization_id, enrollment_id, workflow_id, version, step_id, visit, since, wake_at, waiting)
    SELECT %(organization)s, id, %(workflow)s, 1, %(step)s, 1, now(), now() + interval '1 day' + random() * interval '300 days', true
    FROM enrolled
"""
_CONTACTS = """
    WITH enrolled AS (
        INSERT INTO sending.enrollments
            (organization_id, id, workflow_id, contact_id, email_digest, source, began_at)
        SELECT %(organization)s, uuidv7(), %(workflow)s, contact.id, contact.email_digest, 'date', now()
        FROM contacts.memberships AS membership
        JOIN contacts.contacts AS contact ON contact.organization_id = membership.organization_id AND contact.id = membership.contact_id
        WHERE membership.organization_id = %(organization)s AND membership.list_id = %(list)s RETURNING id
    )
    INSERT INTO sending.enrollment_places
        (organization_id, enrollment_id, workflow_id, version, step_id, visit, since, wake_at, waiting)
    SELECT %(organization)s, id, %(workflow)s, 1, %(step)s, 1, now(), now() + interval '300 days', true FROM enrolled
"""


def mail(subject: str) -> Mapping[str, Any]:
    """A step's mail that speaks to its reader."""
    return {
        "from_email": f"ada@{SIGNED_DOMAIN}",
        "subject": subject,
        "html": "<p>Hello {{ contact.first_name }}, of {{ contact.custom_fields.city }}.</p>",
    }


async def start_workflow(made: Stage, document: WorkflowDocument) -> UUID:
    """An active workflow of the stage's organization."""
    environment = process_environment("sending", made.addresses, made.secrets)
    async with (
        Database(Secret(environment["DATABASE_URL"]), schema="sending") as database,
        database.tenant_transaction(made.context) as session,
    ):
        created = await create_workflow(session, "Bench", document)
        return (await activate_workflow(session, created)).id


def let_wait(
    made: Stage, workflow_id: UUID, step_id: str, *, crowd: int, list_id: UUID | None = None
) -> None:
    """Let a crowd wait at a step for months, and those contacts of a list, too."""
    given = {
        "organization": made.context.organization,
        "workflow": workflow_id,
        "step": step_id,
        "size": crowd,
        "list": list_id,
    }
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        connection.execute(_CROWD, given)
        if list_id is not None:
            connection.execute(_CONTACTS, given)
        connection.execute("VACUUM ANALYZE sending.enrollments, sending.enrollment_places")


def parse(document: Mapping[str, Any]) -> WorkflowDocument:
    """A document as clients write it."""
    return json_format.ParseDict(dict(document), WorkflowDocument())
