"""What a model may have done: look at things with the rights of who asks, and prepare things that are looked at by the checks of what is made.

The list of reads is not what keeps a model from others' data or from changing any: that is the stamp under which they are called (ADR 0048).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.context import RequestContext
from chassis.contract.bounds import violations
from chassis.contract.json_decoding import decoder
from chassis.contract.json_encoding import encoder
from chassis.errors import DomainError, FieldViolation, InvalidRequest
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import contacts_pb2, custom_fields_pb2, lists_pb2, segments_pb2, tags_pb2
from flownurture.sending.v1 import (
    analytics_pb2,
    campaigns_pb2,
    draft_checks_pb2,
    templates_pb2,
    workflow_service_pb2,
)
from flownurture.sending.v1.draft_checks_pb2_grpc import DraftCheckServiceStub
from services.integrations.ai.language_model import Tool

Json: TypeAlias = dict[str, Any]

# Characters of what a tool gives, and of what a model may say to one.
_MOST_GIVEN = 12_000
_MOST_SAID = 60_000
_DEEPEST = 40
_MOST_FLAWS = 20

_ID: Json = {"type": "string", "description": "a UUID"}
_SIZE: Json = {"type": "integer", "minimum": 1, "maximum": 50}
_RULE: Json = {"type": "object", "description": "a segment's rule"}
_OBJECT: Json = {"type": "object"}
_TEXT: Json = {"type": "string"}
_TIME: Json = {"type": "string", "description": "RFC 3339"}


@dataclass(frozen=True, slots=True)
class _Read:
    """An RPC that a model may have called: what it is for, and the fields that it may fill."""

    service: Any
    rpc: str
    purpose: str
    fields: Mapping[str, Json]


_READS: Mapping[str, _Read] = {
    "list_contacts": _Read(
        contacts_pb2.DESCRIPTOR.services_by_name["ContactService"],
        "ListContacts",
        "Contacts, newest first, also by a part of address or name.",
        {"search": _TEXT, "list_id": _ID, "tag_id": _ID, "page_size": _SIZE},
    ),
    "list_lists": _Read(
        lists_pb2.DESCRIPTOR.services_by_name["ListService"],
        "ListLists",
        "The organization's lists.",
        {"page_size": _SIZE},
    ),
    "list_tags": _Read(
        tags_pb2.DESCRIPTOR.services_by_name["TagService"],
        "ListTags",
        "The organization's tags.",
        {"page_size": _SIZE},
    ),
    "list_custom_fields": _Read(
        custom_fields_pb2.DESCRIPTOR.services_by_name["CustomFieldService"],
        "ListCustomFields",
        "What is kept of contacts beside their names.",
        {"page_size": _SIZE},
    ),
    "list_segments": _Read(
        segments_pb2.DESCRIPTOR.services_by_name["SegmentService"],
        "ListSegments",
        "Segments with their rules.",
        {"page_size": _SIZE},
    ),
    "preview_segment": _Read(
        segments_pb2.DESCRIPTOR.services_by_name["SegmentService"],
        "PreviewSegment",
        "How many contacts fit a rule, and some of them.",
        {"rule": _RULE},
    ),
    "list_campaigns": _Read(
        campaigns_pb2.DESCRIPTOR.services_by_name["CampaignService"],
        "ListCampaigns",
        "Campaigns, newest first.",
        {"page_size": _SIZE},
    ),
    "get_campaign_report": _Read(
        campaigns_pb2.DESCRIPTOR.services_by_name["CampaignService"],
        "GetCampaignReport",
        "What became of a campaign.",
        {"campaign_id": _ID},
    ),
    "list_templates": _Read(
        templates_pb2.DESCRIPTOR.services_by_name["TemplateService"],
        "ListTemplates",
        "Templates, newest first.",
        {"page_size": _SIZE},
    ),
    "get_template": _Read(
        templates_pb2.DESCRIPTOR.services_by_name["TemplateService"],
        "GetTemplate",
        "A template with its body.",
        {"template_id": _ID},
    ),
    "list_workflows": _Read(
        workflow_service_pb2.DESCRIPTOR.services_by_name["WorkflowService"],
        "ListWorkflows",
        "Workflows with their triggers.",
        {"page_size": _SIZE},
    ),
    "get_analytics_overview": _Read(
        analytics_pb2.DESCRIPTOR.services_by_name["AnalyticsService"],
        "GetAnalyticsOverview",
        "Figures of all mail in a time.",
        {"from": _TIME, "to": _TIME},
    ),
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something prepared: what it is, and the body by which it is made."""

    kind: str
    document: Json


@dataclass(frozen=True, slots=True)
class _Preparation:
    """A kind of thing that can be prepared."""

    request: type[Message]
    purpose: str
    fields: Mapping[str, Json]


_PREPARED: Mapping[str, _Preparation] = {
    "segment": _Preparation(
        segments_pb2.CreateSegmentRequest,
        "Prepare a segment.",
        {"name": _TEXT, "description": _TEXT, "rule": _RULE},
    ),
    "workflow": _Preparation(
        workflow_service_pb2.CreateWorkflowRequest,
        "Prepare a workflow.",
        {"name": _TEXT, "trigger": _OBJECT, "steps": {"type": "array", "items": _OBJECT}},
    ),
    "campaign": _Preparation(
        campaigns_pb2.CreateCampaignRequest,
        "Prepare a campaign; its audience has list_ids, segment_ids and tags, a list of names.",
        {
            "name": _TEXT,
            "subject": _TEXT,
            "from_name": _TEXT,
            "from_email": _TEXT,
            "html": _TEXT,
            "text": _TEXT,
            "audience": _OBJECT,
        },
    ),
}
_PREPARE = "prepare_"


def _described(name: str, told: _Read | _Preparation) -> Tool:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": told.purpose,
            "parameters": {"type": "object", "properties": dict(told.fields), "additionalProperties": False},
        },
    }


TOOLS = [
    *(_described(name, read) for name, read in _READS.items()),
    *(_described(_PREPARE + kind, preparation) for kind, preparation in _PREPARED.items()),
]
_NAMES = frozenset((*_READS, *(_PREPARE + kind for kind in _PREPARED)))
UNKNOWN = "unknown"


def known_name(name: str) -> str:
    """The tool's name; for any other name, which the model made up, only that."""
    return name if name in _NAMES else UNKNOWN


class Tools:
    """Uses tools for who asks."""

    def __init__(self, contacts: Peer, sending: Peer) -> None:
        self._peers = {"contacts": contacts, "sending": sending}
        self._contacts = contacts
        self._sending = sending
        self._checks = DraftCheckServiceStub(sending.channel)

    async def use(self, name: str, arguments: str, context: RequestContext, proposals: list[Proposal]) -> str:
        """What the model is told of it, as JSON. What was prepared and is good is added to the proposals."""
        try:
            given = _parsed(arguments)
            if name in _READS:
                answer: Json = {"data": await self._read(_READS[name], given, context)}
            elif name in _NAMES:
                answer = await self._prepare(name.removeprefix(_PREPARE), given, context, proposals)
            else:
                answer = {"error": "There is no such tool."}
        except InvalidRequest as refused:
            answer = {"error": refused.message, "flaws": _told(refused)}
        except DomainError as refused:
            answer = {"error": refused.message}
        return _cut(json.dumps(answer, ensure_ascii=False))

    async def _read(self, read: _Read, given: Json, context: RequestContext) -> Json:
        method = read.service.methods_by_name[read.rpc]
        peer = self._peers[read.service.file.package.split(".")[1]]
        given = {"page_size": 20} | given if "page_size" in read.fields else given
        request = _message(GetMessageClass(method.input_type), given, read.fields)
        call = peer.channel.unary_unary(
            f"/{read.service.full_name}/{read.rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer: Message = await peer.call_for_client(call, request, context)
        return encoder(method.output_type)(answer)

    async def _prepare(
        self, kind: str, given: Json, context: RequestContext, proposals: list[Proposal]
    ) -> Json:
        preparation = _PREPARED[kind]
        request = _message(preparation.request, given, preparation.fields)
        checks: dict[str, Callable[[Any, RequestContext], Awaitable[None]]] = {
            "segment": self._check_segment,
            "workflow": self._check_workflow,
            "campaign": self._check_campaign,
        }
        await checks[kind](request, context)
        proposals.append(Proposal(kind, given))
        return {"prepared": kind, "to_be_made_by": "the person who asked"}

    async def _check_segment(
        self, request: segments_pb2.CreateSegmentRequest, context: RequestContext
    ) -> None:
        await self._read(_READS["preview_segment"], {"rule": _plain(request.rule)}, context)

    async def _check_workflow(
        self, request: workflow_service_pb2.CreateWorkflowRequest, context: RequestContext
    ) -> None:
        asked = draft_checks_pb2.CheckWorkflowRequest(workflow=request)
        _require_no_flaws(await self._sending.call(self._checks.CheckWorkflow, asked, _on_its_plan(context)))

    async def _check_campaign(
        self, request: campaigns_pb2.CreateCampaignRequest, context: RequestContext
    ) -> None:
        asked = draft_checks_pb2.CheckCampaignRequest(campaign=request)
        _require_no_flaws(await self._sending.call(self._checks.CheckCampaign, asked, _on_its_plan(context)))


def _on_its_plan(context: RequestContext) -> RequestContext:
    """This process, asking on behalf of the organization, with what its plan has."""
    own = RequestContext.of_process("integrations", context.organization, request_id=context.request_id)
    return replace(own, features=context.features)


def _parsed(arguments: str) -> Json:
    """The arguments as the model wrote them. Raises InvalidRequest."""
    if len(arguments) > _MOST_SAID:
        raise InvalidRequest(FieldViolation("arguments", f"must be at most {_MOST_SAID:,} characters"))
    try:
        given = json.loads(arguments or "{}", parse_constant=_refuse)
        # Escapes spell halves of characters, too.
        json.dumps(given, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequest(FieldViolation("arguments", "must be JSON")) from None
    if not isinstance(given, dict) or _is_deeper(given, _DEEPEST):
        raise InvalidRequest(FieldViolation("arguments", "must be an object, and not nested too deeply"))
    return given


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_deeper(value: object, than: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    within = value.values() if isinstance(value, dict) else value
    return than == 0 or any(_is_deeper(each, than - 1) for each in within)


def _message(kind: type[Message], given: Json, fields: Mapping[str, Json]) -> Any:
    """The message that the arguments mean, within its bounds. Raises InvalidRequest."""
    message = kind()
    withheld = frozenset(field.name for field in message.DESCRIPTOR.fields) - fields.keys()
    found: list[FieldViolation] = []
    decoder(message.DESCRIPTOR)(message, given, "", found, withheld=withheld)
    found = found or violations(message)
    if found:
        raise InvalidRequest(*found[:_MOST_FLAWS])
    return message


def _plain(message: Message) -> Json:
    return encoder(message.DESCRIPTOR)(message)


def _require_no_flaws(answer: draft_checks_pb2.CheckDraftResponse) -> None:
    if answer.flaws:
        raise InvalidRequest(*(FieldViolation(flaw.field, flaw.message) for flaw in answer.flaws))


def _told(refused: InvalidRequest) -> list[str]:
    return [f"{each.field}: {each.message}" for each in refused.violations[:_MOST_FLAWS]]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_GIVEN else f"{text[:_MOST_GIVEN]} … cut off: ask for less"
