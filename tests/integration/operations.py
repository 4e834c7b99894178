"""Every operation of the public API, with a request that would succeed for whom it belongs to.

The operations come from the contract, the requests from the table here: an operation without a row makes tests fail.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from chassis.contract.access import Audience
from gateway.endpoints import Endpoint, public_endpoints
from tests.integration.tenants import authorization

# The ids of what an organization has, by the name that a path gives them.
Belongings = Mapping[str, str]
Body = Callable[[Belongings], dict[str, Any]]

ENDPOINTS = {endpoint.rpc.full_name.removeprefix("flownurture."): endpoint for endpoint in public_endpoints()}


def names_of(*audiences: Audience) -> list[str]:
    """The operations for these audiences, by name."""
    return [name for name, endpoint in ENDPOINTS.items() if endpoint.access.audience in audiences]


def _nothing(_: Belongings) -> dict[str, Any]:
    return {}


def _somebody(_: Belongings) -> dict[str, Any]:
    return {"email": f"{uuid4().hex}@example.test"}


def _campaign(own: Belongings) -> dict[str, Any]:
    content = {
        "name": "Spring",
        "subject": "Spring",
        "from_email": "news@green-grocer.test",
        "text": "It is.",
    }
    return content | {"audience": {"list_ids": [own["list_id"]]}}


def _with_list(own: Belongings) -> dict[str, Any]:
    return _somebody(own) | {"list_ids": [own["list_id"]]}


def _rule(own: Belongings) -> dict[str, Any]:
    return {
        "any": [
            {"list": {"list_id": own["list_id"]}},
            {"not": {"tag": {"tag_id": own["tag_id"]}}},
            {"field": {"name": "email", "operator": "contains", "value": "ada"}},
        ]
    }


def _form(own: Belongings) -> dict[str, Any]:
    return {
        "name": "Blog",
        "consent_text": "Yes",
        "from_email": "news@green-grocer.test",
        "list_ids": [own["list_id"]],
        "tag_ids": [own["tag_id"]],
    }


def _letter(_: Belongings) -> dict[str, Any]:
    return {"to": "friend@example.test", "from_email": "a@example.test", "subject": "Hello", "text": "Hello."}


def _endpoint(_: Belongings) -> dict[str, Any]:
    return {"url": "https://hooks.example.test/flownurture", "event_types": ["contact.*"]}


def _workflow(own: Belongings) -> dict[str, Any]:
    mail = {"from_email": "news@green-grocer.test", "subject": "Welcome", "text": "Good to have you here."}
    return {
        "name": "Welcome",
        "trigger": {"list_joined": {"list_id": own["list_id"]}},
        "steps": [
            {"id": "hello", "send_email": mail},
            {"id": "mark", "add_tag": {"tag_id": own["tag_id"]}},
            {"id": "pause", "wait": {"duration": {"days": 3}}},
            {"id": "end", "exit": {}},
        ],
    }


def _password(own: Belongings) -> dict[str, Any]:
    return {"password": own.get("password", "not the password")}


# What the body holds; nothing where there is none.
BODIES: dict[str, Body] = {
    "identity.v1.AuthService.LogOut": _nothing,
    "identity.v1.AuthService.GetMe": _nothing,
    "identity.v1.SessionService.ListSessions": _nothing,
    "identity.v1.SessionService.DeleteSession": _nothing,
    "identity.v1.SessionService.LogOutEverywhere": _nothing,
    "identity.v1.SessionService.ListMemberships": _nothing,
    "identity.v1.SessionService.SwitchMembership": lambda _: {"membership_id": str(uuid4())},
    "identity.v1.AccountService.ChangePassword": lambda _: {
        "current_password": "not the password",
        "password": uuid4().hex,
    },
    "identity.v1.AccountService.RequestEmailVerification": _nothing,
    "identity.v1.SecondFactorService.GetSecondFactor": _nothing,
    "identity.v1.SecondFactorService.EnrolTotp": _password,
    "identity.v1.SecondFactorService.VerifyTotp": lambda _: {"code": "000000"},
    "identity.v1.SecondFactorService.ReplaceRecoveryCodes": lambda own: _password(own) | {"code": "000000"},
    "identity.v1.SecondFactorService.DisableTotp": lambda own: _password(own) | {"code": "000000"},
    "identity.v1.TeamService.ListMembers": _nothing,
    "identity.v1.TeamService.UpdateMember": lambda _: {"role": "MEMBER"},
    "identity.v1.TeamService.DeleteMember": _nothing,
    "identity.v1.TeamService.EndMemberSessions": _nothing,
    "identity.v1.TeamService.LeaveTeam": _nothing,
    "identity.v1.TeamService.CreateInvitation": lambda own: _somebody(own) | {"role": "MEMBER"},
    "identity.v1.TeamService.ListInvitations": _nothing,
    "identity.v1.TeamService.DeleteInvitation": _nothing,
    "identity.v1.PlanService.GetUsage": _nothing,
    "identity.v1.PlanService.ExplainEntitlement": _nothing,
    "identity.v1.PlanService.GetSubscription": _nothing,
    # The least, so that nobody has more after it than before.
    "identity.v1.PlanService.UpdateSubscription": lambda _: {"plan": "free"},
    "identity.v1.AuditService.ListAuditEvents": _nothing,
    "identity.v1.OrganizationService.GetOrganization": _nothing,
    "identity.v1.OrganizationService.UpdateOrganization": lambda _: {"name": "Greener Grocer"},
    "identity.v1.AdminService.ListOrganizations": _nothing,
    "identity.v1.AdminService.LookUpOrganization": _nothing,
    "identity.v1.AdminService.ChangeOrganization": lambda _: {"suspended": False},
    # By another name than its own, so that it is still there after it.
    "identity.v1.AdminService.RequestOrganizationErasure": lambda _: {"name": uuid4().hex},
    "identity.v1.AdminService.TakeBackOrganizationErasure": _nothing,
    "identity.v1.AdminService.GetOrganizationErasure": _nothing,
    "identity.v1.AdminService.ListPlatformAuditEvents": _nothing,
    "identity.v1.OrganizationExportService.ExportOrganization": _nothing,
    "identity.v1.DeadLetterAdminService.ListDeadLetters": _nothing,
    "identity.v1.DeadLetterAdminService.ReplayDeadLetters": lambda _: {"process": "contacts"},
    "identity.v1.ApiKeyService.CreateApiKey": lambda _: {"name": "mine", "scopes": ["contacts:read"]},
    "identity.v1.ApiKeyService.ListApiKeys": _nothing,
    "identity.v1.ApiKeyService.DeleteApiKey": _nothing,
    "contacts.v1.ContactService.CreateContact": _with_list,
    "contacts.v1.ContactService.UpsertContact": _with_list,
    "contacts.v1.ContactService.BatchUpsertContacts": lambda own: {"contacts": [_with_list(own)]},
    "contacts.v1.ContactService.ListContactMemberships": _nothing,
    "contacts.v1.ContactService.ListContactEvents": _nothing,
    "contacts.v1.ContactService.ListContactConsents": _nothing,
    "contacts.v1.TagService.CreateTag": lambda _: {"name": uuid4().hex},
    "contacts.v1.TagService.GetTag": _nothing,
    "contacts.v1.TagService.ListTags": _nothing,
    "contacts.v1.TagService.UpdateTag": lambda _: {"name": uuid4().hex},
    "contacts.v1.TagService.DeleteTag": _nothing,
    "contacts.v1.CustomFieldService.CreateCustomField": lambda _: {
        "key": f"f{uuid4().hex}",
        "type": "text",
    },
    "contacts.v1.CustomFieldService.GetCustomField": _nothing,
    "contacts.v1.CustomFieldService.ListCustomFields": _nothing,
    "contacts.v1.CustomFieldService.UpdateCustomField": lambda _: {"label": "Mine"},
    "contacts.v1.CustomFieldService.DeleteCustomField": _nothing,
    "contacts.v1.SegmentService.CreateSegment": lambda own: {"name": "Mine", "rule": _rule(own)},
    "contacts.v1.SegmentService.GetSegment": _nothing,
    "contacts.v1.SegmentService.ListSegments": _nothing,
    "contacts.v1.SegmentService.UpdateSegment": lambda own: {"rule": _rule(own)},
    "contacts.v1.SegmentService.DeleteSegment": _nothing,
    "contacts.v1.SegmentService.PreviewSegment": lambda own: {"rule": _rule(own)},
    "contacts.v1.SegmentService.ListSegmentContacts": _nothing,
    "contacts.v1.BulkChangeService.CreateBulkChange": lambda own: {
        "contact_ids": [own["contact_id"]],
        "add_to_list_id": own["list_id"],
    },
    "contacts.v1.BulkChangeService.GetBulkChange": _nothing,
    "contacts.v1.BulkChangeService.ListBulkChanges": _nothing,
    "contacts.v1.ExportService.CreateExport": lambda own: {"list_id": own["list_id"]},
    "contacts.v1.ExportService.GetExport": _nothing,
    "contacts.v1.ExportService.ListExports": _nothing,
    "contacts.v1.ExportService.DownloadExportCsv": _nothing,
    "contacts.v1.ExportService.DownloadExportJson": _nothing,
    "contacts.v1.ImportService.DownloadImportErrors": _nothing,
    "contacts.v1.FormService.CreateForm": _form,
    "contacts.v1.FormService.GetForm": _nothing,
    "contacts.v1.FormService.ListForms": _nothing,
    "contacts.v1.FormService.UpdateForm": _form,
    "contacts.v1.FormService.DeleteForm": _nothing,
    "contacts.v1.FormService.ListFormSubmissions": _nothing,
    "contacts.v1.ContactService.GetContact": _nothing,
    "contacts.v1.ContactService.ListContacts": _nothing,
    "contacts.v1.ContactService.UpdateContact": lambda _: {"first_name": "Mallory"},
    "contacts.v1.ContactService.DeleteContact": _nothing,
    "contacts.v1.ImportService.CreateImport": _nothing,
    "contacts.v1.ImportService.GetImport": _nothing,
    "contacts.v1.ImportService.ListImports": _nothing,
    "contacts.v1.ListService.CreateList": lambda _: {"name": "Friends"},
    "contacts.v1.ListService.GetList": _nothing,
    "contacts.v1.ListService.ListLists": _nothing,
    "contacts.v1.ListService.UpdateList": lambda _: {"name": "Mine"},
    "contacts.v1.ListService.DeleteList": _nothing,
    "contacts.v1.ListService.AddListContacts": lambda own: {"contact_ids": [own["contact_id"]]},
    "contacts.v1.ListService.RemoveListContact": _nothing,
    "contacts.v1.ListService.ListListContacts": _nothing,
    "sending.v1.CampaignService.CreateCampaign": _campaign,
    "sending.v1.CampaignService.GetCampaign": _nothing,
    "sending.v1.CampaignService.ListCampaigns": _nothing,
    "sending.v1.CampaignService.UpdateCampaign": lambda _: {"name": "Mine"},
    "sending.v1.CampaignService.DeleteCampaign": _nothing,
    "sending.v1.CampaignService.LaunchCampaign": _nothing,
    "sending.v1.CampaignService.UnscheduleCampaign": _nothing,
    "sending.v1.CampaignService.ChooseWinner": lambda _: {"variant": 1},
    "sending.v1.CampaignService.RetryIndeterminate": _nothing,
    "sending.v1.CampaignService.PauseCampaign": _nothing,
    "sending.v1.CampaignService.ResumeCampaign": _nothing,
    "sending.v1.CampaignService.CancelCampaign": _nothing,
    "sending.v1.CampaignService.GetCampaignReport": _nothing,
    "sending.v1.CampaignService.ListCampaignMessages": _nothing,
    "sending.v1.CampaignService.TestCampaign": lambda _: {"to": ["reader@example.test"]},
    "sending.v1.AnalyticsService.GetAnalyticsOverview": _nothing,
    "sending.v1.AnalyticsService.GetTimeseries": _nothing,
    "sending.v1.AnalyticsService.ListEvents": _nothing,
    "sending.v1.TemplateService.CreateTemplate": lambda _: {
        "name": "T",
        "html": "<p>{{ contact.email }}</p>",
    },
    "sending.v1.TemplateService.GetTemplate": _nothing,
    "sending.v1.TemplateService.ListTemplates": _nothing,
    "sending.v1.TemplateService.UpdateTemplate": lambda _: {"name": "Mine"},
    "sending.v1.TemplateService.DeleteTemplate": _nothing,
    "sending.v1.TemplateService.RenderTemplate": _nothing,
    "sending.v1.DomainService.CreateDomain": lambda _: {"name": f"{uuid4().hex}.test"},
    "sending.v1.DomainService.GetDomain": _nothing,
    "sending.v1.DomainService.ListDomains": _nothing,
    "sending.v1.DomainService.DeleteDomain": _nothing,
    "sending.v1.DomainService.VerifyDomain": _nothing,
    "sending.v1.DomainService.RotateDomainKeys": _nothing,
    "sending.v1.IpPoolService.GetIpPool": _nothing,
    "sending.v1.IpPoolService.ListIpPools": _nothing,
    "sending.v1.IpPoolAdminService.CreateIpPool": lambda _: {
        "name": "Own",
        "addresses": [{"source_address": "192.0.2.1"}],
    },
    "sending.v1.IpPoolAdminService.ListOrganizationIpPools": _nothing,
    "sending.v1.IpPoolAdminService.DeleteIpPool": _nothing,
    "sending.v1.IpPoolAdminService.AddIpPoolAddress": lambda _: {"address": {"source_address": "192.0.2.2"}},
    "sending.v1.IpPoolAdminService.RemoveIpPoolAddress": _nothing,
    "sending.v1.ReputationService.GetReputation": _nothing,
    "sending.v1.SendingPolicyService.GetSendingPolicy": _nothing,
    "sending.v1.SendingPolicyService.SetSendingPolicy": _nothing,
    "sending.v1.ReputationAdminService.GetOrganizationReputation": _nothing,
    "sending.v1.ReputationAdminService.OverrideReputation": _nothing,
    "sending.v1.MessageTraceAdminService.GetMessageTrace": _nothing,
    "sending.v1.MessageService.CreateMessage": _letter,
    "sending.v1.MessageService.BatchCreateMessages": lambda own: {"messages": [_letter(own)]},
    "sending.v1.MessageService.GetMessage": _nothing,
    "sending.v1.MessageService.ListMessages": _nothing,
    "sending.v1.WorkflowService.CreateWorkflow": _workflow,
    "sending.v1.WorkflowService.GetWorkflow": _nothing,
    "sending.v1.WorkflowService.ListWorkflows": _nothing,
    "sending.v1.WorkflowService.UpdateWorkflow": lambda _: {"name": "Mine"},
    "sending.v1.WorkflowService.DeleteWorkflow": _nothing,
    "sending.v1.WorkflowService.ActivateWorkflow": _nothing,
    "sending.v1.WorkflowService.PauseWorkflow": _nothing,
    "sending.v1.WorkflowService.ArchiveWorkflow": _nothing,
    "sending.v1.WorkflowService.ListWorkflowVersions": _nothing,
    "sending.v1.WorkflowService.GetWorkflowVersion": _nothing,
    "sending.v1.WorkflowSimulationService.SimulateWorkflow": lambda own: {"contact_id": own["contact_id"]},
    "sending.v1.ReadyMadeWorkflowService.ListReadyMadeWorkflows": _nothing,
    "sending.v1.ReadyMadeWorkflowService.CopyReadyMadeWorkflow": lambda own: {
        "from_email": "news@green-grocer.test",
        "list_id": own["list_id"],
        "website": "https://green-grocer.test/",
    },
    "sending.v1.WorkflowReportService.GetWorkflowReport": _nothing,
    "sending.v1.EnrollmentService.CreateEnrollment": lambda own: {"contact_id": own["contact_id"]},
    "sending.v1.EnrollmentService.BatchCreateEnrollments": lambda own: {"contact_ids": [own["contact_id"]]},
    "sending.v1.EnrollmentService.ListEnrollments": _nothing,
    "sending.v1.EnrollmentService.GetEnrollment": _nothing,
    "sending.v1.EnrollmentService.ExitEnrollment": _nothing,
    "sending.v1.EnrollmentService.MoveEnrollments": _nothing,
    "sending.v1.CustomEventService.CreateCustomEvent": lambda own: {
        "name": "ordered",
        "contact_id": own["contact_id"],
    },
    "sending.v1.CustomEventService.BatchCreateCustomEvents": lambda own: {
        "events": [{"name": "ordered", "contact_id": own["contact_id"]}]
    },
    "webhooks.v1.WebhookEndpointService.CreateWebhookEndpoint": _endpoint,
    "webhooks.v1.WebhookEndpointService.GetWebhookEndpoint": _nothing,
    "webhooks.v1.WebhookEndpointService.ListWebhookEndpoints": _nothing,
    "webhooks.v1.WebhookEndpointService.UpdateWebhookEndpoint": lambda _: {"description": "Mine"},
    "webhooks.v1.WebhookEndpointService.DeleteWebhookEndpoint": _nothing,
    "webhooks.v1.WebhookEndpointService.RotateWebhookEndpointSecret": _nothing,
    "webhooks.v1.WebhookEndpointService.TestWebhookEndpoint": _nothing,
    "webhooks.v1.WebhookDeliveryService.ListWebhookDeliveries": _nothing,
    "webhooks.v1.WebhookDeliveryService.GetWebhookDelivery": _nothing,
    "webhooks.v1.WebhookDeliveryService.ReplayWebhookDelivery": _nothing,
    "webhooks.v1.WebhookReplayService.CreateWebhookReplay": lambda _: {"since": "2026-01-01T00:00:00Z"},
    "webhooks.v1.WebhookReplayService.GetWebhookReplay": _nothing,
    "webhooks.v1.WebhookReplayService.ListWebhookReplays": _nothing,
    "webhooks.v1.WebhookEventTypeService.ListWebhookEventTypes": _nothing,
    "integrations.v1.CopilotService.AskCopilot": lambda _: {"question": "How many contacts are there?"},
    "integrations.v1.WritingService.WriteMail": lambda _: {"goal": "Tell of spring."},
    "integrations.v1.ConnectionService.CreateConnection": lambda _: {
        "provider": "hubspot",
        "api_key": uuid4().hex,
    },
    "integrations.v1.ConnectionService.GetConnection": _nothing,
    "integrations.v1.ConnectionService.ListConnections": _nothing,
    "integrations.v1.ConnectionService.UpdateConnection": lambda _: {"log_activities": False},
    "integrations.v1.ConnectionService.DeleteConnection": _nothing,
    "integrations.v1.FieldMappingService.GetMappableFields": _nothing,
    "integrations.v1.FieldMappingService.GetFieldMappings": _nothing,
    "integrations.v1.FieldMappingService.UpdateFieldMappings": lambda _: {
        "field_mappings": [{"field": "first_name", "property": "firstname"}]
    },
    "integrations.v1.FieldMappingService.PreviewFieldMappings": _nothing,
    "integrations.v1.AuthorizationService.BeginAuthorization": _nothing,
    "integrations.v1.SyncService.StartSync": _nothing,
    "integrations.v1.SyncService.GetSync": _nothing,
    "integrations.v1.SyncService.ListSyncs": _nothing,
    "integrations.v1.SyncService.ListSyncProblems": _nothing,
    "integrations.v1.HeldCredentialService.ListHeldCredentials": _nothing,
    "integrations.v1.HeldCredentialService.RevokeHeldCredential": _nothing,
    "suppression.v1.SuppressionService.CreateSuppression": lambda _: {
        "email": f"{uuid4().hex}@example.test",
        "reason": "manual",
    },
    "suppression.v1.SuppressionService.ListSuppressions": _nothing,
    "suppression.v1.SuppressionService.DeleteSuppression": _nothing,
    "suppression.v1.SuppressionAdminService.CheckSuppression": _nothing,
    "suppression.v1.SuppressionFileService.ImportSuppressions": _nothing,
    "suppression.v1.SuppressionFileService.ExportSuppressions": _nothing,
}

# Bodies that refer to what the others do not.
FURTHER_BODIES: tuple[tuple[str, Body], ...] = (
    (
        "contacts.v1.BulkChangeService.CreateBulkChange",
        lambda own: {"rule": _rule(own), "add_tag_id": own["tag_id"]},
    ),
    (
        "contacts.v1.BulkChangeService.CreateBulkChange",
        lambda own: {"segment_id": own["segment_id"], "remove_tag_id": own["tag_id"]},
    ),
    (
        "contacts.v1.BulkChangeService.CreateBulkChange",
        lambda own: {"segment_id": own["segment_id"], "remove_from_list_id": own["list_id"]},
    ),
    ("contacts.v1.ExportService.CreateExport", lambda own: {"tag_id": own["tag_id"]}),
    ("contacts.v1.ExportService.CreateExport", lambda own: {"segment_id": own["segment_id"]}),
    ("contacts.v1.ExportService.CreateExport", lambda own: {"contact_id": own["contact_id"]}),
)

# What paths name that everybody has alike: it is no id.
ALIKE = {"number": "1", "name": "welcome", "provider": "hubspot"}

# What the query must hold.
QUERIES = {
    "identity.v1.PlanService.ExplainEntitlement": {"feature": "ai_writing"},
    "sending.v1.AnalyticsService.ListEvents": {"campaign_id": str(uuid4())},
    "suppression.v1.SuppressionAdminService.CheckSuppression": {"email": "no@example.test"},
}


class _Asked(dict[str, str]):
    """Notes which ids somebody wants to know."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, name: str) -> str:
        self.names.append(name)
        return str(uuid4())


# Of a form: its name, and its file's name, content and type.
Part = tuple[str, tuple[str | None, str, str]]

_UPLOAD: tuple[Part, ...] = (
    ("options", (None, "{}", "application/json")),
    ("file", ("a.csv", "email\n", "text/csv")),
)


@dataclass(frozen=True)
class Request:
    """A request that any client can send: a form where it has parts, else JSON where it has a body."""

    verb: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    parts: Sequence[Part] = ()


@dataclass(frozen=True)
class Operation:
    """One operation and how to call it."""

    name: str
    endpoint: Endpoint

    @property
    def names_things(self) -> bool:
        """Whether its path or its body says by an id what it is about."""
        asked = _Asked()
        BODIES.get(self.name, _nothing)(asked)
        return bool(self.endpoint.template.variables or asked.names)

    async def call(
        self, api: httpx.AsyncClient, credential: str | None, own: Belongings, **elsewhere: str
    ) -> httpx.Response:
        """Call it on what is one's own; ids given by name are put into the path instead."""
        asked = self.request(credential, own, **elsewhere)
        return await api.request(
            asked.verb,
            asked.path,
            headers=asked.headers,
            params=asked.query,
            json=asked.body,
            files=asked.parts or None,
        )

    def request(self, credential: str | None, own: Belongings, **elsewhere: str) -> Request:
        """What such a call sends."""
        path = self.endpoint.template.text
        for variable in self.endpoint.template.variables:
            path = path.replace(f"{{{variable}}}", elsewhere.get(variable) or own[variable])
        headers = authorization(credential) if credential is not None else {}
        if self.endpoint.is_upload:
            return Request(self.endpoint.verb, path, headers, parts=_UPLOAD)
        body = BODIES.get(self.name, _nothing)(own) if self.endpoint.body else None
        return Request(self.endpoint.verb, path, headers, QUERIES.get(self.name, {}), body)


def operation(name: str) -> Operation:
    """The operation of this name."""
    return Operation(name, ENDPOINTS[name])
