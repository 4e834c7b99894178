"""Templates that an organization keeps under a name, for campaigns and messages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, RowMapping, and_, delete, exists, func, insert, literal, select, update

from chassis.database import TenantSession
from chassis.errors import Conflict, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from services.sending.bodies import Body
from services.sending.contents import Content
from services.sending.statuses import CampaignStatus
from services.sending.tables import campaigns, templates
from services.sending.templating.layout import around, is_layout, without_content
from services.sending.templating.mailing import compile_mailing


@dataclass(frozen=True, slots=True)
class SavedTemplate:
    """A template as its organization sees it."""

    id: UUID
    name: str
    subject: str
    html: str
    text: str
    is_layout: bool
    layout_id: UUID | None
    created_at: datetime
    updated_at: datetime


_COLUMNS = [templates.c[name] for name in SavedTemplate.__dataclass_fields__]
# A page of bodies would be too much.
_COLUMNS_BUT_BODIES = [
    literal("").label(column.name) if column.name in ("html", "text") else column for column in _COLUMNS
]


async def create_template(session: TenantSession, content: Mapping[str, Any]) -> SavedTemplate:
    """Keep a template; `content` holds its columns. Raises InvalidRequest when it is not good."""
    await _check(session, content)
    created = await session.execute(
        insert(templates)
        .values(id=new_id(), is_layout=is_layout(content["html"]), **content)
        .returning(*_COLUMNS)
    )
    return SavedTemplate(**created.mappings().one())


async def get_template(session: TenantSession, template_id: UUID) -> SavedTemplate:
    """The template. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(templates.c.id == template_id))
    return _existing(template_id, found.mappings().one_or_none())


async def page_templates(session: TenantSession, *, before: UUID | None, size: int) -> list[SavedTemplate]:
    """Up to `size` templates, newest first and without their bodies, that are older than `before`."""
    wanted = select(*_COLUMNS_BUT_BODIES).order_by(templates.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(templates.c.id < before)
    return [SavedTemplate(**row) for row in (await session.execute(wanted)).mappings()]


async def update_template(
    session: TenantSession, template_id: UUID, changes: Mapping[str, Any]
) -> SavedTemplate:
    """Change columns. Raises NotFound, InvalidRequest when it would not be good."""
    old = await _hold(session, template_id)
    new = {name: getattr(old, name) for name in ("subject", "html", "text", "layout_id")} | dict(changes)
    await _check(session, new)
    if old.is_layout and not is_layout(new["html"]) and await _is_around_others(session, template_id):
        raise InvalidRequest(FieldViolation("html", "must say {{ content }}: other templates stand in it"))
    changed = await session.execute(
        update(templates)
        .where(templates.c.id == template_id)
        .values(**changes, is_layout=is_layout(new["html"]), updated_at=func.now())
        .returning(*_COLUMNS)
    )
    return SavedTemplate(**changed.mappings().one())


async def delete_template(session: TenantSession, template_id: UUID) -> None:
    """Delete it. Raises NotFound, Conflict when it is a layout or the template of a draft."""
    await _hold(session, template_id)
    if await _is_around_others(session, template_id):
        raise Conflict("Other templates stand in this layout.")
    draft = exists().where(
        campaigns.c.template_id == template_id, campaigns.c.status == CampaignStatus.DRAFT.value
    )
    if await session.scalar(select(draft)):
        raise Conflict("A draft of a campaign uses this template.")
    await session.execute(delete(templates).where(templates.c.id == template_id))


async def content_of(session: TenantSession, template_id: UUID) -> Content:
    """What a template says, within its layout. Raises NotFound, InvalidRequest when it is a layout itself."""
    found = await _with_layouts(session, [template_id])
    if not found:
        raise NotFound(f"template as {template_id}")
    return _content(found[0])


async def require_content(session: TenantSession, template_id: UUID) -> Content:
    """The same, of a template that a request refers to. Raises InvalidRequest when it does not exist, too."""
    content = (await require_contents(session, [template_id]))[template_id]
    if isinstance(content, InvalidRequest):
        raise content
    return content


async def require_contents(
    session: TenantSession, template_ids: Collection[UUID]
) -> dict[UUID, Content | InvalidRequest]:
    """The same, of all templates that a request refers to: what each says, or why it cannot be used."""
    contents: dict[UUID, Content | InvalidRequest] = {
        template_id: InvalidRequest(
            FieldViolation("template_id", f"There is no such template as {template_id}.")
        )
        for template_id in template_ids
    }
    for row in await _with_layouts(session, template_ids):
        try:
            contents[row.id] = _content(row)
        except InvalidRequest as unusable:
            contents[row.id] = unusable
    return contents


async def _with_layouts(session: TenantSession, template_ids: Collection[UUID]) -> Sequence[Row[Any]]:
    layout = templates.alias()
    wanted = (
        select(templates, layout.c.html.label("layout_html"), layout.c.text.label("layout_text"))
        .outerjoin(
            layout,
            and_(
                layout.c.organization_id == templates.c.organization_id,
                layout.c.id == templates.c.layout_id,
            ),
        )
        .where(templates.c.id.in_(template_ids))
    )
    return (await session.execute(wanted)).all() if template_ids else []


def _content(row: Row[Any]) -> Content:
    if row.is_layout:
        raise InvalidRequest(
            FieldViolation("template_id", "is a layout: a template that stands in it can be used")
        )
    body = Body.of(row.html, row.text)
    if row.layout_id is not None:
        frame = Body.of(row.layout_html, row.layout_text)
        body = Body(around(frame.html, body.html), around(frame.text, body.text))
    return Content(row.subject, body)


async def _hold(session: TenantSession, template_id: UUID) -> SavedTemplate:
    """The template, to which nobody else can begin to refer until the transaction ends. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(templates.c.id == template_id).with_for_update())
    return _existing(template_id, found.mappings().one_or_none())


def _existing(template_id: UUID, row: RowMapping | None) -> SavedTemplate:
    if row is None:
        raise NotFound(f"template as {template_id}")
    return SavedTemplate(**row)


async def _is_around_others(session: TenantSession, template_id: UUID) -> bool:
    return bool(await session.scalar(select(exists().where(templates.c.layout_id == template_id))))


async def _check(session: TenantSession, content: Mapping[str, Any]) -> None:
    html, text, layout_id = content["html"], content["text"], content["layout_id"]
    body = Body.of(without_content("html", html), without_content("text", text))
    compile_mailing(content["subject"], body.html, body.text)
    if layout_id is None:
        return
    if is_layout(html):
        raise InvalidRequest(FieldViolation("layout_id", "a layout stands in no other"))
    # Held, so that it stays one as long as this is not committed.
    layout = select(templates.c.is_layout).where(templates.c.id == layout_id).with_for_update(read=True)
    if not await session.scalar(layout):
        raise InvalidRequest(FieldViolation("layout_id", "is no template that says {{ content }}"))
