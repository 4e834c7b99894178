"""What operators do for an organization, each time within the one that is named."""

from dataclasses import replace
from uuid import UUID

from chassis.context import PLATFORM, RequestContext
from chassis.errors import NotFound


def within(context: RequestContext, organization_id: str) -> RequestContext:
    """The context of an operator's act upon an organization, which an operator's request may name. Raises NotFound for the platform's own."""
    organization = UUID(organization_id)
    if organization == PLATFORM:
        raise NotFound("organization")
    return replace(context, organization_id=organization)
