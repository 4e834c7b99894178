"""Requests for one-off messages as letters: addresses read, templates rendered, each template read and compiled once for all."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeAlias
from uuid import UUID

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from flownurture.sending.v1 import messages_pb2 as pb
from services.sending.api.addresses import address_of
from services.sending.api.categories import category_of
from services.sending.api.data import data_of
from services.sending.bodies import Body
from services.sending.contents import Content
from services.sending.one_off import Letter
from services.sending.templates import require_contents
from services.sending.templating.template import Template

Contents: TypeAlias = Mapping[UUID, Content | InvalidRequest]


async def letters_of(
    session: TenantSession, requests: Sequence[pb.CreateMessageRequest]
) -> list[Letter | InvalidRequest]:
    """The letter that each request is for, or what is wrong with the request."""
    template_ids = {parse_id(request.template_id) for request in requests if request.template_id}
    desk = _Desk(await require_contents(session, template_ids))
    letters: list[Letter | InvalidRequest] = []
    for request in requests:
        try:
            letters.append(desk.letter(request))
        except InvalidRequest as refused:
            letters.append(refused)
        if _is_template(request):
            # Each may take its time: others are served in between, and the deadline of the call is kept.
            await asyncio.sleep(0)
    return letters


class _Desk:
    """Writes letters; what many of them share is done once."""

    def __init__(self, templates: Contents) -> None:
        self._templates = templates
        self._compile = cache(Template.compile)
        self._body = cache(Body.of)

    def letter(self, request: pb.CreateMessageRequest) -> Letter:
        """Raises InvalidRequest."""
        to = address_of("to", request.to)
        content = self._content(request, to.text)
        return Letter(
            to=to,
            from_email=address_of("from_email", request.from_email).text,
            from_name=request.from_name,
            subject=content.subject,
            body=content.body,
            category=category_of(request.category),
        )

    def _content(self, request: pb.CreateMessageRequest, to: str) -> Content:
        content = self._unrendered(request)
        if not content.subject:
            raise InvalidRequest(FieldViolation("subject", "must be given"))
        if not _is_template(request):
            return content
        data = {"contact": {"email": to}, "variables": data_of(request.variables)}
        return content.rendered(data, self._compile)

    def _unrendered(self, request: pb.CreateMessageRequest) -> Content:
        if not request.template_id:
            return Content(request.subject, self._body(request.html, request.text))
        if request.html or request.text:
            raise InvalidRequest(FieldViolation("template_id", "takes the place of html and text"))
        template = self._templates[parse_id(request.template_id)]
        if isinstance(template, InvalidRequest):
            raise template
        return Content(request.subject or template.subject, template.body)


def _is_template(request: pb.CreateMessageRequest) -> bool:
    return bool(request.template_id) or request.HasField("variables")
