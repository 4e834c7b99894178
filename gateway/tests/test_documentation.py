"""The API's description: it names every endpoint, says who may call it, and refers to nothing that is not there."""

import json
import re
from typing import Any

import pytest

from chassis.contract.access import Audience
from gateway.documentation import html_page
from gateway.endpoints import Endpoint, public_endpoints
from gateway.openapi import openapi

ENDPOINTS = public_endpoints()
DOCUMENT = openapi(ENDPOINTS, "https://api.flownurture.test")


def _operation(endpoint: Endpoint) -> Any:
    return DOCUMENT["paths"][endpoint.template.text][endpoint.verb.lower()]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: str(endpoint.rpc.name))
def test_every_endpoint_is_described_with_its_access(endpoint: Endpoint) -> None:
    operation = _operation(endpoint)
    assert str(endpoint.success_status) in operation["responses"]
    needs_credential = bool(operation["security"]) and {} not in operation["security"]
    assert needs_credential == (endpoint.access.audience is not Audience.PUBLIC)
    assert {"api_key": [endpoint.access.scope]} in operation["security"] or not endpoint.access.scope
    in_path = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
    assert in_path == list(endpoint.template.variables)


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for verbs in DOCUMENT["paths"].values() for operation in verbs.values()]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references == set(DOCUMENT["components"]["schemas"])


def test_bounds_of_the_contract_are_limits_of_the_schema() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    contact = schemas["CreateContactRequest"]
    assert contact["required"] == ["email"]
    assert contact["additionalProperties"] is False
    assert contact["properties"]["first_name"] == {"type": "string", "maxLength": 200}
    assert contact["properties"]["list_ids"]["maxItems"] == 100
    assert "list_id" not in schemas["UpdateListRequest"]["properties"]
    page_size = next(
        each for each in DOCUMENT["paths"]["/v1/contacts"]["get"]["parameters"] if each["name"] == "page_size"
    )
    assert page_size["schema"] == {"type": "integer", "minimum": 0, "maximum": 500}


def test_a_field_that_a_header_fills_is_a_header_and_nothing_of_query_or_body() -> None:
    operation = DOCUMENT["paths"]["/v1/feedback/{provider}"]["post"]
    places = {each["name"]: each["in"] for each in operation["parameters"]}
    assert places == {
        "provider": "path",
        "x-twilio-email-event-webhook-signature": "header",
        "x-twilio-email-event-webhook-timestamp": "header",
    }
    # Which OpenAPI has to be no parameter, and nobody has to show.
    assert operation["security"] == [{}, {"of_others": []}]


def test_comments_of_the_contract_are_descriptions() -> None:
    launch = DOCUMENT["paths"]["/v1/campaigns/{campaign_id}/launch"]["post"]
    assert launch["description"].startswith("Starts sending, or schedules it when `send_at` is to come.")
    parameters = DOCUMENT["paths"]["/v1/contacts"]["get"]["parameters"]
    email = next(each for each in parameters if each["name"] == "email")
    assert email["schema"]["description"] == "Only the contact with this address."


def test_the_page_shows_every_endpoint_and_needs_nothing_else() -> None:
    page = html_page(DOCUMENT)
    for endpoint in ENDPOINTS:
        assert f'id="{endpoint.rpc.name}"' in page
    assert not re.search(r"<script|<link|<img|@import|url\(|src=", page)
