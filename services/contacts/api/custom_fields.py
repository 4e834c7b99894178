"""CustomFieldService: decode, call the domain, encode."""

from collections.abc import Callable

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import custom_fields_pb2 as pb
from services.contacts import bulk_changes, custom_fields
from services.contacts.custom_fields import FieldType

_NUMBERS = {kind: pb.CustomFieldType.Value(f"CUSTOM_FIELD_TYPE_{kind.name}") for kind in FieldType}
_TYPES = {number: kind for kind, number in _NUMBERS.items()}


class CustomFieldApi:
    """What an organization knows of its contacts; `begun` is called after a deletion, whose rest a bulk change does."""

    service = pb.DESCRIPTOR.services_by_name["CustomFieldService"]

    def __init__(self, begun: Callable[[], None]) -> None:
        self._begun = begun

    async def create_custom_field(
        self, request: pb.CreateCustomFieldRequest, context: RequestContext, session: TenantSession
    ) -> pb.CustomField:
        """Declare a field. CONFLICT when there is one with that key, or as many as there may be."""
        return _as_message(
            await custom_fields.create_field(
                session, request.key, request.label.strip(), _TYPES[request.type], request.choices
            )
        )

    async def get_custom_field(
        self, request: pb.GetCustomFieldRequest, context: RequestContext, session: TenantSession
    ) -> pb.CustomField:
        """The field, or NOT_FOUND."""
        return _as_message(await custom_fields.get_field(session, parse_id(request.custom_field_id)))

    async def list_custom_fields(
        self, request: pb.ListCustomFieldsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListCustomFieldsResponse:
        """Fields, newest first."""
        size = page_size(request.page_size)
        found = await custom_fields.page_fields(
            session, before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListCustomFieldsResponse(
            custom_fields=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_custom_field(
        self, request: pb.UpdateCustomFieldRequest, context: RequestContext, session: TenantSession
    ) -> pb.CustomField:
        """Change the label, add choices, or NOT_FOUND."""
        changed = await custom_fields.update_field(
            session,
            parse_id(request.custom_field_id),
            label=request.label if request.HasField("label") else None,
            add_choices=request.add_choices,
        )
        return _as_message(changed)

    async def delete_custom_field(
        self, request: pb.DeleteCustomFieldRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the field, or NOT_FOUND; its values are not shown any more, and go in the background."""
        field = await custom_fields.delete_field(session, parse_id(request.custom_field_id))
        await bulk_changes.forget_field(session, field)
        self._begun()
        return Empty()


def _as_message(field: custom_fields.CustomField) -> pb.CustomField:
    message = pb.CustomField(
        id=str(field.id), key=field.key, label=field.label, type=_NUMBERS[field.type], choices=field.choices
    )
    message.created_at.FromDatetime(field.created_at)
    return message
