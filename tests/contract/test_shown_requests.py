"""The bodies that the pages show are what the contract says they are: the public edge reads them, and they keep to its bounds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from chassis.contract.bounds import violations
from chassis.contract.json_decoding import decoder
from chassis.errors import FieldViolation
from flownurture.contacts.v1.segments_pb2 import PreviewSegmentRequest
from flownurture.integrations.v1.authorizations_pb2 import BeginAuthorizationRequest
from flownurture.integrations.v1.connections_pb2 import PROVIDER_HUBSPOT, CreateConnectionRequest
from flownurture.integrations.v1.copilot_pb2 import AskCopilotRequest, CopilotAnswer
from flownurture.integrations.v1.field_mappings_pb2 import UpdateFieldMappingsRequest
from flownurture.integrations.v1.writing_pb2 import WriteMailRequest, WrittenMail
from flownurture.sending.v1.sending_policy_pb2 import SetSendingPolicyRequest
from flownurture.sending.v1.workflow_simulations_pb2 import SimulateWorkflowRequest
from flownurture.sending.v1.workflows_pb2 import WorkflowDocument
from tests.docs.walk import blocks_of

DOCS = Path(__file__).parents[2] / "docs"
# Of each page that shows bodies as JSON or in requests, what they are, in order; with what stands in their path.
SHOWN: dict[str, list[Message]] = {
    "ai.md": [WriteMailRequest(), WrittenMail(), AskCopilotRequest(), CopilotAnswer()],
    "integrations.md": [
        BeginAuthorizationRequest(provider=PROVIDER_HUBSPOT),
        CreateConnectionRequest(),
        UpdateFieldMappingsRequest(connection_id="01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"),
    ],
    "segments.md": [PreviewSegmentRequest(), PreviewSegmentRequest(), PreviewSegmentRequest()],
    "sending-policy.md": [SetSendingPolicyRequest()],
    "workflows.md": [
        WorkflowDocument(),
        SimulateWorkflowRequest(workflow_id="01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"),
    ],
}
# What is there to be set, not to be sent.
SETTINGS = "client_id"
BODY = re.compile(r"-d '([^']*)'")


def bodies(page: Path) -> Iterator[str]:
    """What of a page would be the body of a request or an answer."""
    for block in blocks_of(page):
        if block.kind == "json" and SETTINGS not in block.content:
            yield block.content
        elif block.kind in ("console", "sh"):
            yield from BODY.findall(block.content)


def wrong(shown: str, message: Message) -> list[FieldViolation]:
    """What the public edge would say of a body."""
    written, found = json.loads(shown), list[FieldViolation]()
    if isinstance(message, PreviewSegmentRequest):
        written = {"rule": written}
    decoder(message.DESCRIPTOR)(message, written, "", found)
    return found + violations(message)


def test_every_page_that_shows_a_body_says_here_what_it_is() -> None:
    shown = {page.name: list(bodies(page)) for page in DOCS.glob("*.md")}
    assert {name: len(found) for name, found in shown.items() if found} == {
        name: len(messages) for name, messages in SHOWN.items()
    }


@pytest.mark.parametrize("name", SHOWN)
def test_the_bodies_of_a_page_are_taken(name: str) -> None:
    for shown, message in zip(bodies(DOCS / name), SHOWN[name], strict=True):
        assert wrong(shown, message) == []


def test_a_body_that_is_not_taken_is_noticed() -> None:
    (violation,) = wrong('{"quiet_hours": {"from": "21:00", "till": "08:00"}}', SetSendingPolicyRequest())[:1]
    assert violation.field == "quiet_hours.till"
