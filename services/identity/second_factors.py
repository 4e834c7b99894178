"""The second factor: time-based one-time passwords (RFC 6238), and recovery codes for the day the device is lost.

A code's time step is taken once: who proves with it moves `last_step`, under a lock. A recovery code is a row, which goes
when it is used. The seed is stored in an envelope, since no organization has a person to itself; codes as SHA-256: they are
120 random bits.
"""

import hmac
import secrets
import time
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlencode
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.database import TenantSession
from chassis.errors import Conflict, FieldViolation, InvalidRequest, Unauthenticated
from chassis.secret import Secret
from chassis.vault.envelope_columns import EnvelopeColumn
from chassis.vault.envelopes import Envelopes
from services.identity import audit
from services.identity.audit import Act
from services.identity.tables import recovery_codes, second_factors

_SEED_BYTES = 20  # RFC 4226 §4 R6
_STEP = 30  # seconds
_DIGITS = 6
# RFC 6238 §5.2: the code before and the one after, for clocks that differ and for the time it takes to type.
_DRIFT = 1
_RECOVERY_CODES = 10
_RECOVERY_BYTES = 15
_ISSUER = "FlowNurture"

SEEDS = EnvelopeColumn(second_factors, "sealed_seed", row="user_id")


class SecondFactorRequired(Unauthenticated):
    """The password was right; a code is needed too."""

    def __init__(self) -> None:
        super().__init__("A code of the second factor is needed.", reason="SECOND_FACTOR_REQUIRED")


class WrongCode(InvalidRequest):
    """A code that is not of this moment, or was used before."""

    def __init__(self) -> None:
        super().__init__(FieldViolation("code", "is wrong or was used before"))


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What goes into the person's device, once."""

    seed: Secret
    uri: Secret


class SecondFactors:
    """Enrols, proves and takes away second factors of members of the session's organization."""

    def __init__(self, seeds: Envelopes, clock: Callable[[], float] = time.time) -> None:
        self._seeds = seeds
        self._clock = clock

    async def enrol(self, session: TenantSession, user_id: UUID, *, account: str) -> Enrolment:
        """Begin: a fresh seed, which counts once it is confirmed. Conflict when there is a confirmed one."""
        seed = secrets.token_bytes(_SEED_BYTES)
        sealed = await self._seeds.seal(seed, row=user_id)
        begun = upsert(second_factors).values(user_id=user_id, sealed_seed=sealed, last_step=0)
        written = await session.scalar(
            begun.on_conflict_do_update(
                index_elements=["user_id"],
                set_={"sealed_seed": sealed, "last_step": 0, "created_at": func.now()},
                where=second_factors.c.confirmed_at.is_(None),
            ).returning(second_factors.c.user_id)
        )
        if written is None:
            raise Conflict("There is a second factor already. Disable it first.")
        text = b32encode(seed).decode()
        # https://github.com/google/google-authenticator/wiki/Key-Uri-Format
        label = quote(f"{_ISSUER}:{account}")
        return Enrolment(
            Secret(text), Secret(f"otpauth://totp/{label}?{urlencode({'secret': text, 'issuer': _ISSUER})}")
        )

    async def confirm(self, session: TenantSession, user_id: UUID, code: str) -> list[Secret]:
        """End enrolment by a code of the seed; answers the recovery codes. InvalidRequest for a wrong code."""
        row = await self._held(session, user_id)
        if row is None or row.confirmed:
            raise Conflict("There is no enrolment to confirm.")
        step = await self._step_of(code, row)
        if step is None:
            raise WrongCode
        await session.execute(
            update(second_factors)
            .where(second_factors.c.user_id == user_id)
            .values(confirmed_at=func.now(), last_step=step)
        )
        codes = await self._renew_recovery_codes(session, user_id)
        await audit.record(session, Act.SECOND_FACTOR_ENABLED, user_id)
        return codes

    async def prove(self, session: TenantSession, user_id: UUID, code: str) -> None:
        """Take a code, if the person has a second factor.

        Raises SecondFactorRequired when there is none, Unauthenticated when it is wrong or was used before.
        """
        row = await self._held(session, user_id)
        if row is None or not row.confirmed:
            return
        if not code:
            raise SecondFactorRequired
        if not await self._take(session, row, code):
            raise Unauthenticated("The code is wrong.")

    async def replace_recovery_codes(self, session: TenantSession, user_id: UUID, code: str) -> list[Secret]:
        """New recovery codes in place of all old ones; a right code has to be shown (InvalidRequest)."""
        await self._show(session, user_id, code)
        codes = await self._renew_recovery_codes(session, user_id)
        await audit.record(session, Act.RECOVERY_CODES_REPLACED, user_id)
        return codes

    async def disable(self, session: TenantSession, user_id: UUID, code: str) -> None:
        """Take the second factor away; a right code has to be shown (InvalidRequest)."""
        await self._show(session, user_id, code)
        await session.execute(delete(second_factors).where(second_factors.c.user_id == user_id))
        await audit.record(session, Act.SECOND_FACTOR_DISABLED, user_id)

    async def _show(self, session: TenantSession, user_id: UUID, code: str) -> None:
        row = await self._held(session, user_id)
        if row is None or not row.confirmed:
            raise Conflict("There is no second factor.")
        if not await self._take(session, row, code):
            raise WrongCode

    async def _held(self, session: TenantSession, user_id: UUID) -> "_Factor | None":
        """The factor, used by nobody else until the transaction ends."""
        row = (
            await session.execute(
                select(second_factors).where(second_factors.c.user_id == user_id).with_for_update()
            )
        ).one_or_none()
        if row is None:
            return None
        return _Factor(user_id, bytes(row.sealed_seed), row.confirmed_at is not None, row.last_step)

    async def _take(self, session: TenantSession, factor: "_Factor", code: str) -> bool:
        """Whether the code was good; it is good no more."""
        step = await self._step_of(code, factor)
        if step is not None:
            is_theirs = second_factors.c.user_id == factor.user_id
            await session.execute(update(second_factors).where(is_theirs).values(last_step=step))
            return True
        used = await session.execute(
            delete(recovery_codes).where(
                recovery_codes.c.user_id == factor.user_id, recovery_codes.c.digest == _digest(code)
            )
        )
        if used.rowcount == 0:
            return False
        await audit.record(session, Act.RECOVERY_CODE_USED, factor.user_id)
        return True

    async def _step_of(self, code: str, factor: "_Factor") -> int | None:
        """The time step whose code this is, if it has not been taken."""
        # A recovery code is longer. It lets in also who has a seed that cannot be opened now, or not any more.
        if len(code) != _DIGITS:
            return None
        seed = (await self._seeds.open(factor.sealed_seed, row=factor.user_id)).reveal()
        totp = TOTP(seed, _DIGITS, SHA1(), _STEP)  # noqa: S303 - RFC 6238; authenticators know no other
        present = int(self._clock()) // _STEP
        for step in range(present - _DRIFT, present + _DRIFT + 1):
            if step > factor.last_step and hmac.compare_digest(totp.generate(step * _STEP), code.encode()):
                return step
        return None

    async def _renew_recovery_codes(self, session: TenantSession, user_id: UUID) -> list[Secret]:
        await session.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
        codes = [_recovery_code() for _ in range(_RECOVERY_CODES)]
        rows = [{"user_id": user_id, "digest": _digest(code)} for code in codes]
        await session.execute(insert(recovery_codes), rows)
        return [Secret(code) for code in codes]


@dataclass(frozen=True, slots=True)
class _Factor:
    user_id: UUID
    sealed_seed: bytes
    confirmed: bool
    last_step: int


def _recovery_code() -> str:
    """Four groups of six, as they are written down."""
    text = b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 6] for start in range(0, len(text), 6))


def _digest(code: str) -> bytes:
    return sha256(code.replace("-", "").replace(" ", "").lower().encode()).digest()


async def standing(session: TenantSession, user_id: UUID) -> tuple[bool, int]:
    """Whether a person has a second factor that counts, and how many recovery codes are left."""
    confirmed = exists().where(
        second_factors.c.user_id == user_id, second_factors.c.confirmed_at.is_not(None)
    )
    left = (
        select(func.count())
        .select_from(recovery_codes)
        .where(recovery_codes.c.user_id == user_id)
        .scalar_subquery()
    )
    row = (await session.execute(select(confirmed.label("enabled"), left.label("codes_left")))).one()
    return row.enabled, row.codes_left
