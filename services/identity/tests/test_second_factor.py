"""The second factor: asked for after the password, each code good once, and not to be gone around."""

import asyncio
import time
from base64 import b32decode
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import text

from chassis.database import Database
from chassis.errors import Conflict, InvalidRequest, Unauthenticated
from chassis.vault.settings import wrapping_of
from chassis.vault.wrapping import DoesNotOpen
from flownurture.identity.v1 import auth_pb2, second_factor_pb2
from services.identity.second_factors import SEEDS, SecondFactors
from services.identity.settings import IdentitySettings
from services.identity.tests.edge import PASSWORD, Edge, Person
from services.identity.tests.test_accounts import ANOTHER, forgotten, reset

STEP = 30


class Device:
    """What a person keeps in their pocket."""

    def __init__(self, seed: str) -> None:
        self._totp = TOTP(b32decode(seed), 6, SHA1(), STEP)

    def code(self, moment: float) -> str:
        return self._totp.generate(int(moment)).decode()


async def enrolled(edge: Edge, person: Person) -> tuple[Device, list[str]]:
    """The person's device, and their recovery codes."""
    request = second_factor_pb2.EnrolTotpRequest(password=PASSWORD)
    begun = await edge.call(edge.second_factor.EnrolTotp, request, person.context)
    assert begun.uri.startswith("otpauth://totp/FlowNurture")
    assert begun.secret in begun.uri
    device = Device(begun.secret)
    # The code of the step before, so that the present one is still good.
    verified = second_factor_pb2.VerifyTotpRequest(code=device.code(time.time() - STEP))
    codes = await edge.call(edge.second_factor.VerifyTotp, verified, person.context)
    return device, list(codes.recovery_codes)


async def log_in(edge: Edge, person: Person, code: str = "", password: str = PASSWORD) -> Any:
    request = auth_pb2.LogInRequest(email=person.email, password=password, code=code)
    return await edge.call(edge.auth.LogIn, request)


async def passed(*attempts: Any) -> int:
    """How many of these at the same moment are let in; the others are refused."""
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(each, Unauthenticated | auth_pb2.LogInResponse) for each in outcomes), outcomes
    return sum(isinstance(each, auth_pb2.LogInResponse) for each in outcomes)


async def test_a_log_in_asks_for_the_code_after_the_right_password_only(edge: Edge) -> None:
    ana = await edge.sign_up()
    device, _ = await enrolled(edge, ana)
    with pytest.raises(Unauthenticated) as needed:
        await log_in(edge, ana)
    assert needed.value.reason == "SECOND_FACTOR_REQUIRED"
    for password, code in (
        ("another quiet bend", ""),
        ("another quiet bend", device.code(time.time())),
        (PASSWORD, "000000"),
    ):
        with pytest.raises(Unauthenticated) as wrong:
            await log_in(edge, ana, code, password)
        assert wrong.value.reason == "UNAUTHENTICATED"
    assert await log_in(edge, ana, device.code(time.time()))


async def test_a_code_is_good_once_also_for_two_at_the_same_moment(edge: Edge) -> None:
    ana = await edge.sign_up()
    device, _ = await enrolled(edge, ana)
    code = device.code(time.time())
    assert await passed(*(log_in(edge, ana, code) for _ in range(5))) == 1
    assert await passed(log_in(edge, ana, code)) == 0


async def test_a_recovery_code_is_good_once_also_for_two_at_the_same_moment(edge: Edge) -> None:
    ana = await edge.sign_up()
    _, codes = await enrolled(edge, ana)
    assert await passed(*(log_in(edge, ana, codes[0]) for _ in range(5))) == 1
    assert await passed(log_in(edge, ana, codes[0])) == 0
    # As people type them.
    assert await passed(log_in(edge, ana, codes[1].upper().replace("-", " "))) == 1
    factor = await edge.call(
        edge.second_factor.GetSecondFactor, second_factor_pb2.GetSecondFactorRequest(), ana.context
    )
    assert (factor.enabled, factor.recovery_codes_left) == (True, 8)


async def test_recovery_codes_are_ten_of_112_random_bits_at_least_and_stored_as_digests(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    _, codes = await enrolled(edge, ana)
    assert len(set(codes)) == 10
    assert all(len(b32decode(code.replace("-", "").upper())) * 8 >= 112 for code in codes)
    async with database.tenant_transaction(ana.context) as session:
        stored = (
            (await session.execute(text("SELECT recovery_codes::text FROM recovery_codes"))).scalars().all()
        )
    assert not any(code in row or code.encode().hex() in row for code in codes for row in stored)


async def test_one_step_of_drift_is_let_pass_and_no_more(
    edge: Edge, database: Database, settings: IdentitySettings
) -> None:
    ana = await edge.sign_up()
    now = 1_800_000_000 + 7.0
    factors = SecondFactors(SEEDS.envelopes("identity", wrapping_of(settings), None), clock=lambda: now)
    user_id = UUID(ana.answer.user.id)
    async with database.tenant_transaction(ana.context) as session:
        begun = await factors.enrol(session, user_id, account=ana.email)
        device = Device(begun.seed.reveal())
        await factors.confirm(session, user_id, device.code(now - STEP))
    for steps in (-2, -1, 2, 3):
        with pytest.raises(Unauthenticated):
            async with database.tenant_transaction(ana.context) as session:
                await factors.prove(session, user_id, device.code(now + steps * STEP))
    for steps in (0, 1):
        async with database.tenant_transaction(ana.context) as session:
            await factors.prove(session, user_id, device.code(now + steps * STEP))
    # What was passed over is not good any more.
    with pytest.raises(Unauthenticated):
        async with database.tenant_transaction(ana.context) as session:
            await factors.prove(session, user_id, device.code(now))


async def test_a_seed_is_stored_sealed_and_opens_for_its_owner_alone(
    edge: Edge, database: Database, settings: IdentitySettings
) -> None:
    ana, bea = await edge.sign_up(), await edge.sign_up()
    request = second_factor_pb2.EnrolTotpRequest(password=PASSWORD)
    begun = await edge.call(edge.second_factor.EnrolTotp, request, ana.context)
    async with database.tenant_transaction(ana.context) as session:
        sealed = bytes(await session.scalar(text("SELECT sealed_seed FROM second_factors")))
    assert b32decode(begun.secret) not in sealed
    seeds = SEEDS.envelopes("identity", wrapping_of(settings), None)
    opened = await seeds.open(sealed, row=UUID(ana.answer.user.id))
    assert opened.reveal() == b32decode(begun.secret)
    with pytest.raises(DoesNotOpen):
        await seeds.open(sealed, row=UUID(bea.answer.user.id))


@pytest.mark.parametrize("rpc", ["DisableTotp", "ReplaceRecoveryCodes"])
async def test_what_weakens_a_factor_takes_the_password_and_a_code(edge: Edge, rpc: str) -> None:
    ana = await edge.sign_up()
    _, codes = await enrolled(edge, ana)
    request_type = getattr(second_factor_pb2, f"{rpc}Request")
    method = getattr(edge.second_factor, rpc)
    for password, code, field in (("wrong one here", codes[0], "password"), (PASSWORD, "000000", "code")):
        with pytest.raises(InvalidRequest) as refusal:
            await edge.call(method, request_type(password=password, code=code), ana.context)
        assert [violation.field for violation in refusal.value.violations] == [field]
    await edge.call(method, request_type(password=PASSWORD, code=codes[0]), ana.context)
    if rpc == "DisableTotp":
        assert await log_in(edge, ana)
    else:
        assert await passed(log_in(edge, ana, codes[1])) == 0


async def test_an_enrolment_counts_once_it_is_confirmed_and_is_not_begun_over_a_confirmed_one(
    edge: Edge,
) -> None:
    ana = await edge.sign_up()
    request = second_factor_pb2.EnrolTotpRequest(password=PASSWORD)
    for wrong in ("not the password", ""):
        with pytest.raises(InvalidRequest):
            await edge.call(
                edge.second_factor.EnrolTotp, second_factor_pb2.EnrolTotpRequest(password=wrong), ana.context
            )
    await edge.call(edge.second_factor.EnrolTotp, request, ana.context)
    assert await log_in(edge, ana)
    with pytest.raises(InvalidRequest):
        await edge.call(
            edge.second_factor.VerifyTotp, second_factor_pb2.VerifyTotpRequest(code="000000"), ana.context
        )
    await enrolled(edge, ana)
    with pytest.raises(Conflict):
        await edge.call(edge.second_factor.EnrolTotp, request, ana.context)


async def test_a_reset_password_does_not_go_around_it(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    device, _ = await enrolled(edge, ana)
    await reset(edge, await forgotten(edge, database, ana))
    with pytest.raises(Unauthenticated) as needed:
        await log_in(edge, ana, password=ANOTHER)
    assert needed.value.reason == "SECOND_FACTOR_REQUIRED"
    assert await log_in(edge, ana, device.code(time.time()), ANOTHER)


async def test_an_operator_can_have_one_too(edge: Edge, settings: IdentitySettings) -> None:
    assert settings.super_admin_email is not None
    operator = await edge.log_in(settings.super_admin_email, PASSWORD)
    _, codes = await enrolled(edge, operator)
    try:
        with pytest.raises(Unauthenticated):
            await log_in(edge, operator)
        assert await log_in(edge, operator, codes[0])
    finally:
        request = second_factor_pb2.DisableTotpRequest(password=PASSWORD, code=codes[1])
        await edge.call(edge.second_factor.DisableTotp, request, operator.context)
