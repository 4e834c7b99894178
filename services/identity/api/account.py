"""`AccountService`: passwords and the proof of e-mail addresses."""

from collections.abc import Iterable
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import RateLimited, Unauthenticated
from chassis.secret import Secret
from flownurture.identity.v1 import account_pb2 as pb
from services.identity import account_tokens, audit, sessions, users
from services.identity.account_mails import AccountMails
from services.identity.account_tokens import Purpose, TokenNotValid
from services.identity.afterwards import Afterwards
from services.identity.api.sessions import in_membership
from services.identity.audit import Act
from services.identity.grants import Grants
from services.identity.lookup import Lookup, Membership, Person
from services.identity.password_rule import refuse_weak
from services.identity.passwords import Passwords
from services.identity.proof import Proof
from services.identity.throttle import Allowance, Throttle, network_of

# Of somebody who proved with a token who they are: no session is begun for them.
_NO_SESSION = UUID(int=0)


class AccountService:
    """Nothing here tells whether an account exists."""

    service = pb.DESCRIPTOR.services_by_name["AccountService"]

    def __init__(
        self,
        *,
        database: Database,
        lookup: Lookup,
        passwords: Passwords,
        proof: Proof,
        throttle: Throttle,
        grants: Grants,
        mails: AccountMails,
        afterwards: Afterwards,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._passwords = passwords
        self._proof = proof
        self._throttle = throttle
        self._grants = grants
        self._mails = mails
        self._afterwards = afterwards

    async def forgot_password(self, request: pb.ForgotPasswordRequest, context: RequestContext) -> Empty:
        """Accept the request; whether there is anybody to send a mail to is found out after the answer."""
        email = EmailAddress.parse(request.email)
        await self._throttle.count(
            Allowance(f"forgot:{network_of(context.client_address)}", burst=60, seconds=60)
        )
        self._afterwards.do(self._send_reset(email, context))
        return Empty()

    async def reset_password(self, request: pb.ResetPasswordRequest, context: RequestContext) -> Empty:
        """Set a password by a mail's token and end every session; TokenNotValid, or InvalidRequest on field `password`.

        A password that is refused does not use the token up.
        """
        token, password = Secret(request.token), Secret(request.password)
        person, held = await self._holder(token, Purpose.RESET_PASSWORD)
        await refuse_weak(password, email=person.user.email, names=(person.user.name,))
        password_hash = await self._passwords.hash(password)
        home, *elsewhere = held
        theirs = _as_themselves(context, person, home)
        # Before the token is used up, so that a failure can be repeated; and once more after the password has changed, for
        # who switched there meanwhile.
        await self._end_sessions(theirs, elsewhere, Act.PASSWORD_RESET)
        async with self._database.tenant_transaction(theirs) as session:
            await account_tokens.redeem(session, token, Purpose.RESET_PASSWORD)
            await users.set_password(session, person.user.id, password_hash)
            # Who reads the mailbox has proved the address too.
            await users.verify_email(session, person.user.id)
            await sessions.end_all(session, person.user.id, self._grants)
            self._mails.password_changed(session, person.user.email)
            await audit.record(session, Act.PASSWORD_RESET, person.user.id)
        await self._end_sessions(theirs, elsewhere)
        return Empty()

    async def change_password(self, request: pb.ChangePasswordRequest, context: RequestContext) -> Empty:
        """Set another password and end all other sessions; InvalidRequest on `current_password` when that is wrong."""
        async with self._proof.once_more(
            context, Secret(request.current_password), field="current_password"
        ) as person:
            password = Secret(request.password)
            await refuse_weak(password, email=person.user.email, names=(person.user.name,))
            password_hash = await self._passwords.hash(password)
            held = await self._lookup.memberships_of(person.user.id)
            here = sessions.home(context)
            elsewhere = [each for each in held if each.organization.id != here.organization]
            await self._end_sessions(here, elsewhere, Act.PASSWORD_CHANGED)
            async with self._database.tenant_transaction(here) as session:
                await users.set_password(session, person.user.id, password_hash)
                await sessions.end_all(session, person.user.id, self._grants, but=UUID(context.session_id))
                self._mails.password_changed(session, person.user.email)
                await audit.record(session, Act.PASSWORD_CHANGED, person.user.id)
            await self._end_sessions(here, elsewhere)
        return Empty()

    async def request_email_verification(
        self, request: pb.RequestEmailVerificationRequest, context: RequestContext
    ) -> Empty:
        """Send the mail again, unless the address is proved."""
        person = await self._lookup.person_by_id(UUID(context.actor_id))
        if person is None:
            raise Unauthenticated
        if person.user.email_verified:
            return Empty()
        await self._throttle.count(Allowance(f"verify:{person.user.id}", burst=5, seconds=720))
        async with self._database.tenant_transaction(sessions.home(context)) as session:
            token = await account_tokens.issue(session, person.user.id, Purpose.VERIFY_EMAIL)
            await self._mails.verify_email(session, person.user.email, token)
        return Empty()

    async def verify_email(self, request: pb.VerifyEmailRequest, context: RequestContext) -> Empty:
        """Prove an address by a mail's token; TokenNotValid."""
        token = Secret(request.token)
        person, (home, *_) = await self._holder(token, Purpose.VERIFY_EMAIL)
        async with self._database.tenant_transaction(_as_themselves(context, person, home)) as session:
            await account_tokens.redeem(session, token, Purpose.VERIFY_EMAIL)
            if await users.verify_email(session, person.user.id):
                await audit.record(session, Act.EMAIL_VERIFIED, person.user.id)
        return Empty()

    async def _end_sessions(
        self, theirs: RequestContext, memberships: Iterable[Membership], act: Act | None = None
    ) -> None:
        """End the person's sessions in these organizations, each in its own transaction; with the act in its trail."""
        user_id = UUID(theirs.actor_id)
        for membership in memberships:
            async with self._database.tenant_transaction(in_membership(theirs, membership)) as session:
                await sessions.end_all(session, user_id, self._grants)
                if act is not None:
                    await audit.record(session, act, user_id)

    async def _send_reset(self, email: EmailAddress, context: RequestContext) -> None:
        try:
            await self._throttle.count(Allowance(f"forgot:{email.digest.hex()}", burst=5, seconds=720))
        except RateLimited:
            return
        person = await self._lookup.person(email)
        held = await self._lookup.memberships_of(person.user.id) if person else []
        if person is None or not held:
            return
        async with self._database.tenant_transaction(_as_themselves(context, person, held[0])) as session:
            token = await account_tokens.issue(session, person.user.id, Purpose.RESET_PASSWORD)
            await self._mails.reset_password(session, person.user.email, token)

    async def _holder(self, token: Secret, purpose: Purpose) -> tuple[Person, list[Membership]]:
        """Whose token it is, and where they belong; TokenNotValid when it is nobody's."""
        user_id = await self._lookup.user_of_token(account_tokens.digest_of(token), purpose)
        person = await self._lookup.person_by_id(user_id) if user_id else None
        held = await self._lookup.memberships_of(person.user.id) if person else []
        if person is None or not held:
            raise TokenNotValid
        return person, held


def _as_themselves(context: RequestContext, person: Person, home: Membership) -> RequestContext:
    """The context of somebody who proved with a token who they are; no session comes of it."""
    return context.for_session(
        user_id=person.user.id, session_id=_NO_SESSION, organization_id=home.organization.id, role=home.role
    )
