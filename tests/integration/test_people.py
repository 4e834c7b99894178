"""People come in by mail: what they are sent arrives, and its links do what they say, through the whole platform."""

import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from uuid import uuid4

import httpx
import pytest

from deploy.demo.client import Client
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.tenants import Tenant, authorization, problem, sign_up

LINK = re.compile(r"https?://\S+?(/account/[a-z-]+/[\w-]{43})")
PASSWORD = "a slow green tram"


@pytest.fixture
async def mailbox(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=house.mail_url, timeout=30, verify=False) as mailbox:
        yield mailbox


@pytest.fixture
async def owner(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


async def link_in_mail(mailbox: httpx.AsyncClient, to: str, subject: str) -> str:
    """The path of the link in the mail with this subject, once it has arrived."""

    async def look() -> list[dict[str, str]]:
        found = await mailbox.get("/api/messages", params={"to": to, "subject": subject})
        messages: list[dict[str, str]] = found.raise_for_status().json()["messages"]
        return messages

    messages = await until(look, bool, seconds=30)
    assert messages, f"no mail about {subject!r} reached {to}"
    raw = (await mailbox.get(f"/api/messages/{messages[0]['id']}/raw")).content
    body = message_from_bytes(raw, policy=policy.default).get_body(("plain",))
    assert body is not None
    found = LINK.search(body.get_content())
    assert found is not None
    return found[1]


async def log_in(api: httpx.AsyncClient, email: str, password: str) -> Client:
    signed_in = await Client(api).post("/v1/auth/login", {"email": email, "password": password})
    return Client(api, signed_in["access_token"])


async def test_the_mail_after_a_sign_up_proves_the_address(
    api: httpx.AsyncClient, mailbox: httpx.AsyncClient, owner: Tenant
) -> None:
    path = await link_in_mail(mailbox, owner.email, "Please confirm your e-mail address")
    page = await api.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script" not in page.text
    # Looking at the page proves nothing: prefetchers look at pages.
    assert (await owner.owner.get("/v1/me"))["user"]["email_verified"] is False
    assert "Address confirmed" in (await api.post(path)).text
    assert (await owner.owner.get("/v1/me"))["user"]["email_verified"] is True
    assert "not valid" in (await api.post(path)).text


async def test_mails_about_accounts_are_no_tenants_business(
    mailbox: httpx.AsyncClient, owner: Tenant
) -> None:
    await link_in_mail(mailbox, owner.email, "Please confirm your e-mail address")
    assert (await owner.owner.get("/v1/messages"))["messages"] == []
    usage = await owner.owner.get("/v1/organization/usage")
    assert {limit["limit"]: limit["used"] for limit in usage["limits"]} == {
        "contacts": 0,
        "emails_per_cycle": 0,
        "members": 1,
        "webhook_endpoints": 0,
        "ai_tokens_per_cycle": 0,
    }


async def test_a_forgotten_password_is_replaced_by_mail(
    api: httpx.AsyncClient, mailbox: httpx.AsyncClient, owner: Tenant
) -> None:
    for email in (owner.email, f"{uuid4().hex}@example.test"):
        asked = await api.post("/v1/auth/password/forgot", json={"email": email})
        assert (asked.status_code, asked.json()) == (202, {})
    path = await link_in_mail(mailbox, owner.email, "Set a new password")
    assert "too easily guessed" in (await api.post(path, data={"password": "password1234"})).text
    assert "Password set" in (await api.post(path, data={"password": PASSWORD})).text
    refused = await api.get("/v1/me", headers=authorization(owner.access_token))
    problem(refused, 401, "unauthenticated")
    assert (await (await log_in(api, owner.email, PASSWORD)).get("/v1/me"))["user"]["email"] == owner.email


async def test_a_person_is_invited_joins_is_raised_and_is_out_at_once(
    api: httpx.AsyncClient, mailbox: httpx.AsyncClient, owner: Tenant
) -> None:
    email = f"{uuid4().hex}@example.test"
    await owner.owner.post("/v1/team/invitations", {"email": email, "role": "MEMBER"})
    path = await link_in_mail(mailbox, email, "You are invited to Green Grocer")
    joined = await api.post(path, data={"name": "Ana <Lima>", "password": PASSWORD})
    assert "You are in" in joined.text
    signed_in = await Client(api).post("/v1/auth/login", {"email": email, "password": PASSWORD})
    token, user_id = signed_in["access_token"], signed_in["user"]["id"]
    assert signed_in["organization"]["id"] == owner.organization_id
    member = f"/v1/team/members/{user_id}"

    async def invite() -> httpx.Response:
        body = {"email": f"{uuid4().hex}@example.test", "role": "MEMBER"}
        return await api.post("/v1/team/invitations", headers=authorization(token), json=body)

    problem(await invite(), 403, "insufficient-role")
    for role in ("ORG_ADMIN", "SUPER_ADMIN"):
        raised = await api.patch(member, headers=authorization(token), json={"role": role})
        problem(raised, 403, "insufficient-role")

    await owner.owner.patch(member, {"role": "ORG_ADMIN"})
    # With the token that the person had before: it may now, until the seats of the plan are taken.
    assert (await invite()).status_code == 201
    problem(await invite(), 403, "plan-limit-exceeded")
    lowered = await api.patch(member, headers=authorization(token), json={"role": "MEMBER"})
    problem(lowered, 409, "conflict")

    await owner.owner.delete(member)
    for path in ("/v1/me", "/v1/organization", "/v1/contacts"):
        problem(await api.get(path, headers=authorization(token)), 401, "unauthenticated")
    refreshed = await api.post("/v1/auth/refresh", json={"refresh_token": signed_in["refresh_token"]})
    problem(refreshed, 401, "unauthenticated")
    trail = (await owner.owner.get("/v1/audit-events"))["audit_events"]
    assert [event["act"] for event in trail[:6]] == [
        "member_removed",
        "member_invited",
        "member_role_changed",
        "logged_in",
        "member_joined",
        "member_invited",
    ]
    assert {event["client_address"] for event in trail} == {"127.0.0.1"}
