"""Webhooks are what the API's description says they are: every body that is posted, and every example."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from google.protobuf.message import Message
from jsonschema_rs import Draft202012Validator

from chassis.contract.examples import example
from chassis.identifiers import new_id
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1.messages_pb2 import MessageStatus
from flownurture.workflows.v1.events_pb2 import CallEndpoints
from gateway.documentation import html_page
from gateway.endpoints import public_endpoints
from gateway.openapi import openapi
from services.webhooks import event_types
from services.webhooks.payloads import FACTS, Told, body_of, told_by

DOCUMENT: Any = orjson.loads(orjson.dumps(openapi(public_endpoints(), "https://api.flownurture.test")))
VERSION = event_types.VERSIONS[-1]
TOLD_OF = [*(fact for facts in FACTS.values() for fact in facts), CallEndpoints]


@dataclass(frozen=True)
class Stored:
    """An event as the log has it."""

    event_id: UUID
    event_type: str
    data: bytes
    sequence: int
    occurred_at: datetime


def content_of(event_type: str) -> Any:
    return DOCUMENT["webhooks"][event_type]["post"]["requestBody"]["content"]["application/json"]


def validator(event_type: str) -> Draft202012Validator:
    schema = {**content_of(event_type)["schema"], "components": DOCUMENT["components"]}
    return Draft202012Validator(schema, validate_formats=True)


def body(told: Told) -> Any:
    event = Stored(told.id, told.type, told.data, told.sequence, told.occurred_at)
    return orjson.loads(body_of(event, uuid4(), VERSION))


def full(fact: type[Message]) -> Message:
    descriptor: Any = fact.DESCRIPTOR
    made = example(descriptor)
    if isinstance(made, MessagesSettled):
        made.outcomes.extend(MessageOutcome(status=status) for status in MessageStatus.values())
    if isinstance(made, CallEndpoints):
        made.calls[0].effect_id = uuid4().bytes
    return made


@pytest.mark.parametrize("fact", TOLD_OF, ids=lambda fact: str(fact.DESCRIPTOR.name))
def test_every_body_that_is_posted_fits_the_description(fact: type[Message]) -> None:
    events = told_by(full(fact), new_id())
    assert events
    for told in events:
        posted = body(told)
        schema = content_of(told.type)["schema"]
        validator(told.type).validate(posted)
        assert set(posted) == set(schema["properties"])
        data = schema["properties"]["data"]["$ref"].rsplit("/", 1)[1]
        assert set(posted["data"]) == set(DOCUMENT["components"]["schemas"][data]["properties"])


@pytest.mark.parametrize("event_type", event_types.EVENT_TYPES)
def test_every_type_is_described_with_an_example_that_fits(event_type: str) -> None:
    operation = DOCUMENT["webhooks"][event_type]["post"]
    content = content_of(event_type)
    validator(event_type).validate(content["example"])
    # What a test event holds, too.
    assert content["example"]["data"] == event_types.example(event_type)
    assert event_types.EVENT_TYPES[event_type].description in operation["description"]


def test_no_type_is_described_that_is_not_there() -> None:
    assert list(DOCUMENT["webhooks"]) == list(event_types.EVENT_TYPES)


def test_the_description_refuses_a_body_of_another_type_or_with_a_part_missing() -> None:
    described = content_of("contact.created")["example"]
    wrong = [{**described, "type": "contact.updated"}]
    wrong += [{name: value for name, value in described.items() if name != missing} for missing in described]
    assert not any(validator("contact.created").is_valid(each) for each in wrong)


def test_the_page_shows_every_type() -> None:
    page = html_page(DOCUMENT)
    for event_type in event_types.EVENT_TYPES:
        assert f'id="webhook.{event_type}"' in page
