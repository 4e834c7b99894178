"""Forms by which people subscribe themselves: what they ask for, and where who fills them in ends up."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from services.contacts.custom_fields import CustomField, read_fields
from services.contacts.lists import require_lists
from services.contacts.tables import forms
from services.contacts.tags import require_tags

# What may be asked for beside the address and custom fields, with what stands beside it.
NAMES = {"first_name": "First name", "last_name": "Last name"}
_BUTTON = "Subscribe"


@dataclass(frozen=True, slots=True)
class FormField:
    """What is asked for: a name, or a custom field by its key."""

    key: str
    label: str
    required: bool


@dataclass(frozen=True, slots=True)
class FormDraft:
    """What a form is to be like."""

    name: str
    title: str
    description: str
    fields: Sequence[FormField]
    list_ids: Collection[UUID]
    tag_ids: Collection[UUID]
    double_opt_in: bool
    consent_text: str
    button_label: str
    success_message: str
    from_name: str
    from_email: str


@dataclass(frozen=True, slots=True)
class Form:
    """A form."""

    id: UUID
    name: str
    title: str
    description: str
    fields: Sequence[FormField]
    list_ids: Sequence[UUID]
    tag_ids: Sequence[UUID]
    double_opt_in: bool
    consent_text: str
    button_label: str
    success_message: str
    from_name: str
    from_email: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = [forms.c[name] for name in Form.__dataclass_fields__]


async def create_form(session: TenantSession, draft: FormDraft) -> Form:
    """Create a form. Raises NotFound for a list or tag that is not there, InvalidRequest for fields that are not declared."""
    values = await _checked(session, draft)
    created = await session.execute(insert(forms).values(id=new_id(), **values).returning(*_COLUMNS))
    return _form(created.mappings().one())


async def get_form(session: TenantSession, form_id: UUID) -> Form:
    """The form. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(forms.c.id == form_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise no_such_form(form_id)
    return _form(row)


async def page_forms(session: TenantSession, *, before: UUID | None, size: int) -> list[Form]:
    """Up to `size` forms, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(forms.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(forms.c.id < before)
    return [_form(row) for row in (await session.execute(wanted)).mappings()]


async def replace_form(session: TenantSession, form_id: UUID, draft: FormDraft) -> Form:
    """Make a form what the draft says; its address stays. Raises NotFound and what `create_form` does."""
    await get_form(session, form_id)
    values = await _checked(session, draft)
    replaced = await session.execute(
        update(forms)
        .where(forms.c.id == form_id)
        .values(**values, updated_at=func.now())
        .returning(*_COLUMNS)
    )
    return _form(replaced.mappings().one())


async def delete_form(session: TenantSession, form_id: UUID) -> None:
    """Delete a form, with what was submitted by it; contacts stay. Raises NotFound."""
    if await session.scalar(delete(forms).where(forms.c.id == form_id).returning(forms.c.id)) is None:
        raise no_such_form(form_id)


def no_such_form(form_id: UUID) -> NotFound:
    """The error that names it."""
    return NotFound(f"form as {form_id}")


async def _checked(session: TenantSession, draft: FormDraft) -> dict[str, object]:
    await require_lists(session, draft.list_ids)
    await require_tags(session, draft.tag_ids)
    fields = _labelled(draft.fields, await read_fields(session))
    return {
        **{name: getattr(draft, name) for name in FormDraft.__dataclass_fields__},
        "fields": [asdict(field) for field in fields],
        "list_ids": sorted(draft.list_ids),
        "tag_ids": sorted(draft.tag_ids),
        "title": draft.title or draft.name,
        "button_label": draft.button_label or _BUTTON,
    }


def _labelled(asked: Sequence[FormField], known: Mapping[str, CustomField]) -> list[FormField]:
    """The fields, each with a label. Raises InvalidRequest that names those that nobody has declared, or that come twice."""
    labels = NAMES | {key: field.label for key, field in known.items()}
    keys = [field.key for field in asked]
    found = [
        FieldViolation(f"fields[{place}].key", "is not a declared custom field, first_name or last_name")
        for place, key in enumerate(keys)
        if key not in labels
    ]
    found += [
        FieldViolation(f"fields[{place}].key", f"is asked for in fields[{keys.index(key)}] already")
        for place, key in enumerate(keys)
        if keys.index(key) != place
    ]
    if found:
        raise InvalidRequest(*found)
    return [FormField(field.key, field.label or labels[field.key], field.required) for field in asked]


def _form(row: RowMapping) -> Form:
    return Form(**{**row, "fields": [FormField(**field) for field in row["fields"]]})
