"""Proof that somebody is who they say: the password, tried no more often than is good.

Every way in that takes a password comes through here, so that none is weaker than another. What is counted, by whom:

- an account from one address: 10 at once, then one a minute;
- all accounts from one address: 100 at once, then ten a minute;
- an account from everywhere: 100 at once, then one a minute, but not from where the account has a live session. So a stranger
  who fails on purpose keeps nobody out at the places they know.

A failure is written into the trail of the account's organization, after the answer so that nobody can tell by its time that
there is an account, and twenty of them an hour at most so that nobody can fill it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest, RateLimited, Unauthenticated
from chassis.logs import logger
from chassis.secret import Secret
from services.identity import audit
from services.identity.afterwards import Afterwards
from services.identity.audit import Act
from services.identity.lookup import Lookup, Person
from services.identity.passwords import Passwords
from services.identity.second_factors import SecondFactorRequired, WrongCode
from services.identity.throttle import Allowance, Throttle, network_of


class Proof:
    """Checks passwords."""

    def __init__(
        self,
        *,
        database: Database,
        lookup: Lookup,
        passwords: Passwords,
        throttle: Throttle,
        afterwards: Afterwards,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._passwords = passwords
        self._throttle = throttle
        self._afterwards = afterwards

    @asynccontextmanager
    async def of_password(
        self, email: EmailAddress, password: Secret, context: RequestContext
    ) -> AsyncIterator[Person]:
        """The person whose address and password these are; the block does what they may do now.

        A second factor is proved inside the block: the attempt counts as failed when that fails. A wrong password and an
        unknown address get the same Unauthenticated for the same work; RateLimited comes before either.
        """
        person = await self._lookup.person(email, context.client_address)
        allowances = _allowances(email.digest, context, known=person is not None and person.at_known_address)
        await self._throttle.count(*allowances)
        if not await self._passwords.verify(person.password_hash if person else None, password) or not person:
            self._note_failure(person, context)
            raise Unauthenticated("The e-mail address or the password is wrong.")
        try:
            async with self._no_guess(allowances):
                yield person
        except SecondFactorRequired:
            raise
        except Unauthenticated:
            self._note_failure(person, context)
            raise

    @asynccontextmanager
    async def once_more(
        self, context: RequestContext, password: Secret, *, field: str = "password"
    ) -> AsyncIterator[Person]:
        """The caller, who is signed in and shows the password again; InvalidRequest on `field` when it is wrong.

        What else has to be proved is proved inside the block, as in `of_password`.
        """
        person = await self._lookup.person_by_id(UUID(context.actor_id))
        if person is None:
            raise Unauthenticated
        allowances = _allowances(person.email_digest, context, known=True)
        await self._throttle.count(*allowances)
        if not await self._passwords.verify(person.password_hash, password):
            raise InvalidRequest(FieldViolation(field, "is wrong"))
        async with self._no_guess(allowances):
            yield person

    def _note_failure(self, person: Person | None, context: RequestContext) -> None:
        logger().warning("log_in_failed", client_address=context.client_address)
        if person is not None:
            self._afterwards.do(self._record_failure(person, context))

    async def _record_failure(self, person: Person, context: RequestContext) -> None:
        held = await self._lookup.memberships_of(person.user.id)
        if not held:
            return
        try:
            await self._throttle.count(Allowance(f"noted:{person.email_digest.hex()}", burst=20, seconds=180))
        except RateLimited:
            return
        theirs = replace(context, organization_id=held[0].organization.id)
        async with self._database.tenant_transaction(theirs) as session:
            await audit.record(session, Act.LOG_IN_FAILED, person.user.id)

    @asynccontextmanager
    async def _no_guess(self, allowances: tuple[Allowance, ...]) -> AsyncIterator[None]:
        """Give the attempt back, whatever becomes of the block, unless what fails in it is a proof."""
        try:
            yield
        except SecondFactorRequired:
            await self._throttle.give_back(*allowances)
            raise
        except (Unauthenticated, WrongCode):
            raise
        except BaseException:
            await self._throttle.give_back(*allowances)
            raise
        await self._throttle.give_back(*allowances)


def _allowances(email_digest: bytes, context: RequestContext, *, known: bool) -> tuple[Allowance, ...]:
    account, network = email_digest.hex(), network_of(context.client_address)
    from_one_address = (
        Allowance(f"log-in:{account}:{network}", burst=10, seconds=60),
        Allowance(f"log-in:{network}", burst=100, seconds=6),
    )
    if known:
        return from_one_address
    return (*from_one_address, Allowance(f"log-in:{account}", burst=100, seconds=60))
