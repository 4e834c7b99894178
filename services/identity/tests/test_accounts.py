"""Accounts: addresses are proved, passwords changed and replaced, and nobody learns who has one."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from chassis.database import Database
from chassis.errors import InvalidRequest, RateLimited, Unauthenticated
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from chassis.vault.wrapping import DoesNotOpen
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import account_pb2, auth_pb2
from flownurture.identity.v1.events_pb2 import SendAccountMail
from services.identity.tests import mails
from services.identity.tests.edge import PASSWORD, Edge, Person
from services.identity.tests.test_own_sessions import in_another_organization, is_gone

ANOTHER = "another broad river"


async def forgot(edge: Edge, email: str) -> Any:
    return await edge.call(edge.account.ForgotPassword, account_pb2.ForgotPasswordRequest(email=email))


async def forgotten(edge: Edge, database: Database, person: Person) -> str:
    """The token of a fresh mail for a forgotten password."""
    before = len(await mails.tokens(database, person, "reset-password"))
    await forgot(edge, person.email)

    async def is_written() -> bool:
        return len(await mails.tokens(database, person, "reset-password")) > before

    await until(is_written)
    return await mails.newest(database, person, "reset-password")


async def reset(edge: Edge, token: str, password: str = ANOTHER) -> None:
    request = account_pb2.ResetPasswordRequest(token=token, password=password)
    await edge.call(edge.account.ResetPassword, request)


async def change(edge: Edge, person: Person, current: str = PASSWORD, password: str = ANOTHER) -> None:
    request = account_pb2.ChangePasswordRequest(current_password=current, password=password)
    await edge.call(edge.account.ChangePassword, request, person.context)


async def verify(edge: Edge, token: str) -> None:
    await edge.call(edge.account.VerifyEmail, account_pb2.VerifyEmailRequest(token=token))


async def me(edge: Edge, person: Person) -> auth_pb2.GetMeResponse:
    answer: auth_pb2.GetMeResponse = await edge.call(edge.auth.GetMe, auth_pb2.GetMeRequest(), person.context)
    return answer


async def subjects(database: Database, person: Person) -> list[str]:
    async with database.tenant_transaction(person.context) as session:
        envelopes = (await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))).scalars().all()
    orders = [Envelope.FromString(envelope) for envelope in envelopes]
    return [
        SendAccountMail.FromString(order.payload).subject
        for order in orders
        if order.type == SendAccountMail.DESCRIPTOR.full_name
    ]


async def test_an_order_of_a_mail_holds_its_link_sealed_for_that_mail_alone(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    token = await mails.newest(database, ana, "verify-email")
    async with database.tenant_transaction(ana.context) as session:
        envelopes = (await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))).scalars().all()
    assert not [envelope for envelope in envelopes if token.encode() in envelope]
    other = [Envelope.FromString(envelope) for envelope in envelopes]
    for event in other:
        event.id = str(new_id())
    with pytest.raises(DoesNotOpen):
        await mails.tokens_in([event.SerializeToString() for event in other], "verify-email")


async def test_a_forgotten_password_is_answered_alike_for_everybody(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    assert await forgot(edge, ana.email) == await forgot(edge, "nobody@people.test")
    assert await forgotten(edge, database, ana)


async def test_a_reset_sets_the_password_once_proves_the_address_and_ends_every_session(
    edge: Edge, database: Database, redis: Redis
) -> None:
    ana = await edge.sign_up()
    there, again = await in_another_organization(edge, database, ana), await edge.log_in(ana.email)
    await edge.resolve_session(there.session_id)
    token = await forgotten(edge, database, ana)
    await reset(edge, token)
    assert not await redis.exists(f"grant:session:{there.session_id}")
    assert [await is_gone(edge, person) for person in (ana, there, again)] == [True] * 3
    with pytest.raises(Unauthenticated):
        await edge.log_in(ana.email)
    anew = await edge.log_in(ana.email, ANOTHER)
    assert anew.answer.user.email_verified
    with pytest.raises(InvalidRequest) as used:
        await reset(edge, token, "yet another river")
    assert [violation.field for violation in used.value.violations] == ["token"]
    assert (await subjects(database, ana))[-1] == "Your password was changed"


async def test_of_two_who_hold_the_same_link_one_sets_the_password(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    token = await forgotten(edge, database, ana)
    passwords = [f"{ANOTHER} {number}" for number in range(4)]
    outcomes = await asyncio.gather(
        *(reset(edge, token, password) for password in passwords), return_exceptions=True
    )
    (winner,) = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert all(isinstance(each, InvalidRequest) for each in outcomes if each is not None)
    assert await edge.log_in(ana.email, passwords[winner])


async def test_a_newer_mail_voids_the_older_and_time_voids_both(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    old, new = await forgotten(edge, database, ana), await forgotten(edge, database, ana)
    with pytest.raises(InvalidRequest):
        await reset(edge, old)
    async with database.tenant_transaction(ana.context) as session:
        await session.execute(text("UPDATE account_tokens SET expires_at = now()"))
    with pytest.raises(InvalidRequest):
        await reset(edge, new)


async def test_a_weak_password_does_not_use_the_link_up(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    token = await forgotten(edge, database, ana)
    for weak in ("password1234", ana.email):
        with pytest.raises(InvalidRequest) as refusal:
            await reset(edge, token, weak)
        assert [violation.field for violation in refusal.value.violations] == ["password"]
    await reset(edge, token)


async def test_a_link_is_stored_as_a_digest_and_serves_its_purpose_alone(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    token = await mails.newest(database, ana, "verify-email")
    async with database.tenant_transaction(ana.context) as session:
        stored = (
            (await session.execute(text("SELECT account_tokens::text FROM account_tokens"))).scalars().all()
        )
    assert stored
    assert not any(token in row or token.encode().hex() in row for row in stored)
    with pytest.raises(InvalidRequest):
        await reset(edge, token)
    await verify(edge, token)


async def test_somebody_is_not_flooded_with_mails(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    for _ in range(8):
        await forgot(edge, ana.email)

    async def are_written() -> bool:
        return len(await mails.tokens(database, ana, "reset-password")) == 5

    await until(are_written)
    for _ in range(5):
        await edge.call(
            edge.account.RequestEmailVerification, account_pb2.RequestEmailVerificationRequest(), ana.context
        )
    with pytest.raises(RateLimited):
        await edge.call(
            edge.account.RequestEmailVerification, account_pb2.RequestEmailVerificationRequest(), ana.context
        )


async def test_a_change_needs_the_present_password_and_ends_the_other_sessions(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    there, again = await in_another_organization(edge, database, ana), await edge.log_in(ana.email)
    with pytest.raises(InvalidRequest) as refusal:
        await change(edge, ana, current="not the password")
    assert [violation.field for violation in refusal.value.violations] == ["current_password"]
    with pytest.raises(InvalidRequest) as refusal:
        await change(edge, ana, password="password1234")
    assert [violation.field for violation in refusal.value.violations] == ["password"]
    await change(edge, ana)
    assert [await is_gone(edge, person) for person in (ana, there, again)] == [False, True, True]
    assert (await edge.log_in(ana.email, ANOTHER)).answer.user.id == ana.answer.user.id
    assert (await subjects(database, ana))[-1] == "Your password was changed"


async def test_an_address_is_proved_by_the_link_in_its_mail_once(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    assert not ana.answer.user.email_verified
    token = await mails.newest(database, ana, "verify-email")
    await verify(edge, token)
    assert (await me(edge, ana)).user.email_verified
    with pytest.raises(InvalidRequest):
        await verify(edge, token)
    # Asking for another mail does nothing any more.
    before = await subjects(database, ana)
    await edge.call(
        edge.account.RequestEmailVerification, account_pb2.RequestEmailVerificationRequest(), ana.context
    )
    assert await subjects(database, ana) == before


@pytest.mark.parametrize("token", ["A" * 43, "short", "x" * 500])
async def test_a_link_that_nobody_sent_is_refused_by_field(edge: Edge, token: str) -> None:
    for attempt in (reset(edge, token), verify(edge, token)):
        with pytest.raises(InvalidRequest) as refusal:
            await attempt
        assert [violation.field for violation in refusal.value.violations] == ["token"]


async def test_the_owner_of_a_taken_address_is_told_once_a_day(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    for _ in range(3):
        with pytest.raises(Exception, match="account with this e-mail address"):
            await edge.sign_up(email=ana.email.upper())
    assert (await subjects(database, ana)).count("You have an account already") == 1
