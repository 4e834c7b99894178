"""`SecondFactorService`: the second factor of the caller's account."""

from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import Database
from chassis.secret import Secret
from flownurture.identity.v1 import second_factor_pb2 as pb
from services.identity import second_factors, sessions
from services.identity.proof import Proof
from services.identity.second_factors import SecondFactors
from services.identity.throttle import Allowance, Throttle


class SecondFactorService:
    """Whatever weakens or replaces a factor takes the password and a code of the present one."""

    service = pb.DESCRIPTOR.services_by_name["SecondFactorService"]

    def __init__(self, database: Database, proof: Proof, throttle: Throttle, factors: SecondFactors) -> None:
        self._database = database
        self._proof = proof
        self._throttle = throttle
        self._factors = factors

    async def get_second_factor(
        self, request: pb.GetSecondFactorRequest, context: RequestContext
    ) -> pb.SecondFactor:
        """Whether there is one, and how many recovery codes are left."""
        async with self._database.tenant_transaction(sessions.home(context), read_only=True) as session:
            enabled, codes_left = await second_factors.standing(session, UUID(context.actor_id))
        return pb.SecondFactor(enabled=enabled, recovery_codes_left=codes_left)

    async def enrol_totp(self, request: pb.EnrolTotpRequest, context: RequestContext) -> pb.EnrolTotpResponse:
        """A fresh seed, which counts once a code of it is verified."""
        async with (
            self._proof.once_more(context, Secret(request.password)) as person,
            self._database.tenant_transaction(sessions.home(context)) as session,
        ):
            begun = await self._factors.enrol(session, person.user.id, account=person.user.email)
        return pb.EnrolTotpResponse(secret=begun.seed.reveal(), uri=begun.uri.reveal())

    async def verify_totp(self, request: pb.VerifyTotpRequest, context: RequestContext) -> pb.RecoveryCodes:
        """End enrolment; from now on log-ins take a code."""
        user_id = UUID(context.actor_id)
        async with (
            self._throttle.attempt(Allowance(f"totp:{user_id}", burst=10, seconds=60)),
            self._database.tenant_transaction(sessions.home(context)) as session,
        ):
            codes = await self._factors.confirm(session, user_id, request.code)
        return _codes_message(codes)

    async def replace_recovery_codes(
        self, request: pb.ReplaceRecoveryCodesRequest, context: RequestContext
    ) -> pb.RecoveryCodes:
        """New recovery codes; the old ones are void."""
        async with (
            self._proof.once_more(context, Secret(request.password)) as person,
            self._database.tenant_transaction(sessions.home(context)) as session,
        ):
            codes = await self._factors.replace_recovery_codes(session, person.user.id, request.code)
        return _codes_message(codes)

    async def disable_totp(self, request: pb.DisableTotpRequest, context: RequestContext) -> Empty:
        """Take the second factor away."""
        async with (
            self._proof.once_more(context, Secret(request.password)) as person,
            self._database.tenant_transaction(sessions.home(context)) as session,
        ):
            await self._factors.disable(session, person.user.id, request.code)
        return Empty()


def _codes_message(codes: list[Secret]) -> pb.RecoveryCodes:
    return pb.RecoveryCodes(recovery_codes=[code.reveal() for code in codes])
