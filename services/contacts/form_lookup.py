"""Whose a form is, before an organization is known: all that the public page of a form begins with."""

from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import RoleDatabase
from services.contacts.forms import no_such_form

_ORGANIZATION_OF = text("SELECT organization_id FROM contacts.forms WHERE id = :form_id")


class FormLookup:
    """Looks through a role that sees the ids of forms and of their organizations, and nothing else."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def context_of(self, form_id: UUID, request_id: str) -> RequestContext:
        """The context of the form's organization. Raises NotFound."""
        async with self._database.transaction() as connection:
            organization_id = await connection.scalar(_ORGANIZATION_OF, {"form_id": form_id})
        if organization_id is None:
            raise no_such_form(form_id)
        return RequestContext.of_process("contacts", organization_id, request_id=request_id)
