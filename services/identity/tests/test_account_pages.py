"""The pages behind the links in account mails: reading changes nothing, sending does, and what is refused is said."""

import re
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody

from chassis.database import Database
from flownurture.identity.v1 import account_pages_pb2 as pb
from flownurture.identity.v1 import auth_pb2, team_pb2
from flownurture.identity.v1.account_pages_pb2_grpc import AccountPageServiceStub
from flownurture.options.v1.access_pb2 import ROLE_MEMBER
from services.identity.tests import mails
from services.identity.tests.edge import Edge, Person
from services.identity.tests.test_accounts import ANOTHER, forgotten

NOBODYS = "A" * 43


async def look(edge: Edge, page: str, token: str) -> str:
    return await called(edge, f"Get{page}Page", token=token)


async def submit(edge: Edge, page: str, token: str, form: str = "") -> str:
    return await called(edge, f"Submit{page}Page", token=token, body=HttpBody(data=form.encode()))


async def called(edge: Edge, rpc: str, **asked: Any) -> str:
    pages = AccountPageServiceStub(edge._peer.channel)
    answer = await edge.call(getattr(pages, rpc), getattr(pb, f"{rpc}Request")(**asked))
    assert answer.content_type == "text/html; charset=utf-8"
    text: str = answer.data.decode()
    assert "<script" not in text
    assert not re.search(r"\son\w+=", text)
    return text


async def is_verified(edge: Edge, person: Person) -> bool:
    answer = await edge.call(edge.auth.GetMe, auth_pb2.GetMeRequest(), person.context)
    return bool(answer.user.email_verified)


async def test_reading_the_page_proves_nothing_and_sending_it_does_once(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    token = await mails.newest(database, ana, "verify-email")
    for _ in range(3):
        assert "<form" in await look(edge, "VerifyEmail", token)
    assert not await is_verified(edge, ana)
    assert "Address confirmed" in await submit(edge, "VerifyEmail", token)
    assert await is_verified(edge, ana)
    assert "The link is not valid, was used already, or has expired." in await submit(
        edge, "VerifyEmail", token
    )


async def test_a_password_is_set_and_what_is_wrong_with_it_is_said_before(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    token = await forgotten(edge, database, ana)
    page = await look(edge, "ResetPassword", token)
    assert 'type="password"' in page
    assert 'autocomplete="new-password"' in page
    assert "too easily guessed" in await submit(edge, "ResetPassword", token, "password=password1234")
    assert "at least 12 characters" in await submit(edge, "ResetPassword", token)
    assert "Password set" in await submit(
        edge, "ResetPassword", token, f"password={ANOTHER.replace(' ', '+')}"
    )
    assert (await edge.log_in(ana.email, ANOTHER)).answer.user.id == ana.answer.user.id


async def test_an_invited_person_joins_and_what_was_typed_comes_back_harmless(
    edge: Edge, database: Database
) -> None:
    owner = await edge.sign_up()
    request = team_pb2.CreateInvitationRequest(email="new.person@people.test", role=ROLE_MEMBER)
    await edge.call(edge.team.CreateInvitation, request, owner.context)
    token = await mails.newest(database, owner, "invitation")
    page = await look(edge, "Invitation", token)
    assert page.count('type="password"') == 1
    assert "<b>" not in await submit(edge, "Invitation", token, "name=%3Cb%3EAna&password=short")
    assert "You are in" in await submit(
        edge, "Invitation", token, f"name=Ana&password={ANOTHER.replace(' ', '+')}"
    )
    assert "not valid" in await submit(
        edge, "Invitation", token, f"name=Ana&password={ANOTHER.replace(' ', '+')}"
    )


@pytest.mark.parametrize("page", ["VerifyEmail", "ResetPassword", "Invitation"])
async def test_a_link_that_nobody_sent_looks_like_any_other_and_does_nothing(edge: Edge, page: str) -> None:
    assert "<form" in await look(edge, page, NOBODYS)
    said = await submit(edge, page, NOBODYS, f"name=Ana&password={ANOTHER.replace(' ', '+')}")
    assert "The link is not valid" in said


@pytest.mark.parametrize("form", ["password=" + "x" * 300, "a=1&" * 20, "\x00"])
async def test_a_form_that_is_none_is_refused_on_the_page(edge: Edge, form: str) -> None:
    assert 'role="alert"' in await submit(edge, "ResetPassword", NOBODYS, form)
