"""One request, one call: routing, transcoding, stamping, and what comes back."""

from datetime import datetime
from typing import Any

from google.api.httpbody_pb2 import HttpBody

from chassis.context import ActorKind, RequestContext
from chassis.errors import Conflict, DeadlineExceeded, FailedPrecondition, FieldViolation, InvalidRequest
from chassis.identifiers import new_id
from deploy.local.servers.program import free_address
from flownurture.contacts.v1 import contacts_pb2
from flownurture.feedback.v1.provider_reports_pb2 import TakeProviderReportRequest
from flownurture.options.v1 import access_pb2
from flownurture.web.v1.redirect_pb2 import Redirect
from gateway.tests.house import House

SUBSCRIBED = contacts_pb2.CONTACT_STATUS_SUBSCRIBED


async def test_a_post_becomes_one_stamped_call_and_its_answer_json(house: House) -> None:
    key, grant = house.identity.api_key("contacts:write")

    async def create(request: Any, context: RequestContext) -> contacts_pb2.Contact:
        contact = contacts_pb2.Contact(id=str(new_id()), email=request.email, status=SUBSCRIBED)
        contact.created_at.FromDatetime(datetime(2026, 1, 2, 3, 4, 5))
        return contact

    service = house.services["ContactService"]
    service.answer("CreateContact", create)
    response = await house.call(
        "POST", "/v1/contacts", key, json={"email": "ada@example.com"}, headers={"idempotency-key": "once"}
    )

    assert response.status_code == 201
    assert response.json() | {"id": ""} == {
        "id": "",
        "email": "ada@example.com",
        "first_name": "",
        "last_name": "",
        "time_zone": "",
        "status": "subscribed",
        "list_ids": [],
        "tags": [],
        "custom_fields": None,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": None,
    }
    (asked,) = service.of(response.headers["x-request-id"])
    assert asked.context.actor_kind is ActorKind.API_KEY
    assert str(asked.context.organization_id) == grant.organization_id
    assert asked.context.scopes == {"contacts:write"}
    assert asked.context.idempotency_key == "once"


async def test_a_path_variable_and_a_query_reach_their_fields(house: House) -> None:
    key, _ = house.identity.api_key("campaigns:read")
    campaign_id = str(new_id())
    response = await house.call("GET", f"/v1/campaigns/{campaign_id}/messages?page_size=7&status=vetoed", key)
    assert response.status_code == 200
    (asked,) = house.services["CampaignService"].of(response.headers["x-request-id"])
    assert (asked.request.campaign_id, asked.request.page_size, asked.request.status) == (campaign_id, 7, 3)


async def test_a_header_that_the_contract_names_reaches_its_field_and_no_other_header_does(
    house: House,
) -> None:
    response = await house.call(
        "POST",
        "/v1/feedback/sendgrid",
        content=b"[ ]",
        headers={
            "Authorization": "Basic Zm9v",
            "X-Twilio-Email-Event-Webhook-Signature": "MEUC",
            "x-other": "unheard",
            "content-type": "application/json",
        },
    )
    assert response.status_code == 200
    (asked,) = house.services["ProviderReportService"].of(response.headers["x-request-id"])
    assert asked.request == TakeProviderReportRequest(
        provider="sendgrid",
        body=HttpBody(content_type="application/json", data=b"[ ]"),
        authorization="Basic Zm9v",
        sendgrid_signature="MEUC",
    )


async def test_a_field_that_a_header_fills_is_bounded_and_no_query_sets_it(house: House) -> None:
    header = "x-twilio-email-event-webhook-timestamp"
    too_long = await house.call("POST", "/v1/feedback/sendgrid", headers={header: "1" * 21})
    in_query = await house.call("POST", "/v1/feedback/sendgrid?authorization=x")
    wrong = [answer.json()["errors"][0]["field"] for answer in (too_long, in_query)]
    assert wrong == ["sendgrid_timestamp", "authorization"]


async def test_a_delete_answers_204_without_content(house: House) -> None:
    key, _ = house.identity.api_key("contacts:write")
    response = await house.call("DELETE", f"/v1/contacts/{new_id()}", key)
    assert (response.status_code, response.content) == (204, b"")


async def test_a_head_is_a_get_without_its_body(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    response = await house.call("HEAD", "/v1/contacts", key)
    assert (response.status_code, response.content) == (200, b"")


async def test_who_asks_for_headers_alone_is_known_to_the_service(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    told = []
    for method in ("HEAD", "GET"):
        response = await house.call(method, "/v1/contacts", key)
        (asked,) = house.services["ContactService"].of(response.headers["x-request-id"])
        told.append(asked.context.head_only)
    assert told == [True, False]


async def test_a_redirect_leads_elsewhere_and_does_not_tell_from_where(house: House) -> None:
    async def follow(request: Any, context: RequestContext) -> Redirect:
        assert (context.actor_kind, context.user_agent) == (ActorKind.ANONYMOUS, "Browser/1")
        return Redirect(location="https://shop.test/plums?a=1&b=2")

    house.services["TrackingService"].answer("FollowLink", follow)
    response = await house.call("GET", "/t/c/dG9rZW4", headers={"user-agent": "Browser/1"})
    assert (response.status_code, response.content) == (302, b"")
    assert response.headers["location"] == "https://shop.test/plums?a=1&b=2"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


async def test_a_page_of_a_service_is_sent_as_it_is_and_may_load_nothing(house: House) -> None:
    async def page(request: Any, context: RequestContext) -> HttpBody:
        assert context.actor_kind is ActorKind.ANONYMOUS
        return HttpBody(content_type="text/html; charset=utf-8", data=b"<h1>Bye</h1>")

    house.services["UnsubscribeService"].answer("GetUnsubscribePage", page)
    response = await house.call("GET", "/u/dG9rZW4")
    assert response.content == b"<h1>Bye</h1>"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_raw_body_reaches_the_service_as_it_is(house: House) -> None:
    response = await house.call(
        "POST",
        "/u/dG9rZW4",
        content=b"List-Unsubscribe=One-Click",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 200
    (asked,) = house.services["UnsubscribeService"].of(response.headers["x-request-id"])
    assert asked.request.body.data == b"List-Unsubscribe=One-Click"
    assert asked.request.body.content_type == "application/x-www-form-urlencoded"


async def test_what_a_service_raises_becomes_a_problem_document(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    contact = f"/v1/contacts/{new_id()}"
    violation = FieldViolation("email", "is taken")
    for error, status, kind in (
        (Conflict("There is one already."), 409, "conflict"),
        (FailedPrecondition("No mail to them.", reason="SUPPRESSED"), 409, "suppressed"),
        (InvalidRequest(violation, reason="IDEMPOTENCY_MISMATCH"), 422, "idempotency-mismatch"),
        (DeadlineExceeded(), 503, "unavailable"),
        (ZeroDivisionError("an inner secret"), 500, "internal"),
    ):

        async def refuse(request: Any, context: RequestContext, error: Exception = error) -> Any:
            raise error

        house.services["ContactService"].answer("GetContact", refuse)
        response = await house.call("GET", contact, key)
        problem = response.json()
        assert response.status_code == problem["status"] == status
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["type"] == f"https://flownurture.dev/problems/{kind}"
        assert problem["request_id"] == response.headers["x-request-id"]
        assert "inner secret" not in response.text
        assert problem.get("errors") == (
            [{"field": "email", "message": "is taken"}] if status == 422 else None
        )
        assert ("retry-after" in response.headers) == (status == 503)


async def test_a_service_that_is_away_is_503(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    async with house.beside(contacts_target=free_address()) as other:
        response = await other.call("GET", "/v1/contacts", key)
    assert response.status_code == 503
    assert response.json()["type"].endswith("/unavailable")


async def test_an_unknown_path_is_404_and_a_wrong_method_405_with_what_is_allowed(house: House) -> None:
    missing = await house.call("GET", "/v1/nothing")
    assert (missing.status_code, missing.json()["type"]) == (
        404,
        "https://flownurture.dev/problems/not-found",
    )
    wrong = await house.call("PATCH", "/v1/contacts")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST, PUT")
    assert (await house.call("GET", "/v1/contacts/")).status_code == 404
    assert (await house.call("GET", "/" + "/".join("a" * 40))).status_code == 404


async def test_internal_rpcs_have_no_route(house: House) -> None:
    for path in (
        "/flownurture.identity.v1.AdmissionService/ResolveCredential",
        "/v1/admission",
        "/flownurture.contacts.v1.AudienceService/StreamRecipients",
    ):
        assert (await house.call("POST", path, json={})).status_code == 404


async def test_a_literal_path_wins_over_a_variable(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    response = await house.call("GET", "/v1/contacts/imports", key)
    assert [asked.rpc for asked in house.services["ImportService"].of(response.headers["x-request-id"])] == [
        "ListImports"
    ]


async def test_a_sane_request_id_is_kept_and_another_replaced(house: House) -> None:
    kept = await house.call("GET", "/healthz", headers={"x-request-id": "abc-123_X"})
    assert kept.headers["x-request-id"] == "abc-123_X"
    for bad in ("a" * 65, "a b", "<script>", "é".encode()):
        response = await house.call("GET", "/healthz", headers=[("x-request-id", bad)])
        assert response.headers["x-request-id"] != bad


async def test_metadata_of_ours_that_a_client_sends_is_not_passed_on(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    response = await house.call(
        "GET",
        "/v1/contacts",
        key,
        headers={"flownurture-context-bin": "AAAA", "x-organization-id": str(new_id())},
    )
    (asked,) = house.services["ContactService"].of(response.headers["x-request-id"])
    assert str(asked.context.organization_id) == grant.organization_id


async def test_every_answer_of_the_api_forbids_sniffing_and_storing(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    for response in (
        await house.call("GET", "/v1/contacts", key),
        await house.call("GET", "/v1/contacts"),
        await house.call("GET", "/nothing"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"


async def test_an_idempotency_key_that_is_none_is_refused(house: House) -> None:
    key, _ = house.identity.api_key("contacts:write")
    for bad in (b"", b"a" * 256, b"tab\there", "é".encode()):
        response = await house.client.post(
            "/v1/contacts",
            json={"email": "ada@example.com"},
            headers=[(b"authorization", f"Bearer {key}".encode()), (b"idempotency-key", bad)],
        )
        assert response.status_code == 422, bad
        assert response.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_the_gateways_own_pages_answer(house: House) -> None:
    assert (await house.call("GET", "/healthz")).json() == {"status": "ok"}
    assert (await house.call("GET", "/readyz")).json() == {"status": "ready"}
    docs = await house.call("GET", "/docs")
    assert "Create contact" in docs.text
    assert "default-src 'none'" in docs.headers["content-security-policy"]
    assert "src=" not in docs.text
    assert (await house.call("GET", "/openapi.json")).json()["openapi"] == "3.1.0"


async def test_a_platform_route_is_for_super_admins_alone(house: House) -> None:
    for role, status in ((access_pb2.ROLE_ORG_ADMIN, 403), (access_pb2.ROLE_SUPER_ADMIN, 200)):
        token, _ = house.identity.user(role)
        response = await house.call("GET", "/v1/admin/organizations", token)
        assert response.status_code == status
