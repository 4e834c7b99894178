"""A day of an organization in which everything happens that is ever audited, and every secret is given out that there is."""

import base64
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import Unauthenticated, Unavailable
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import (
    account_pb2,
    admin_pb2,
    auth_pb2,
    dead_letters_pb2,
    organization_pb2,
    second_factor_pb2,
    sessions_pb2,
    team_pb2,
)
from flownurture.integrations.v1.events_pb2 import IntegrationActCommitted
from flownurture.options.v1 import access_pb2
from flownurture.sending.v1.events_pb2 import ReputationOverridden, SendingActCommitted
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_MANUAL
from flownurture.suppression.v1.events_pb2 import (
    SuppressionActCommitted,
    SuppressionRemoved,
    SuppressionsRolledBack,
)
from flownurture.webhooks.v1.events_pb2 import WebhookActCommitted, WebhookEndpointDisabled
from services.identity import audit, subscriptions
from services.identity.account_mails import AccountMails
from services.identity.audit import Act
from services.identity.consumers import consumers
from services.identity.grants import Grants
from services.identity.organization_erasures import GRACE, erase
from services.identity.plans import Plan
from services.identity.tests import keys, mails
from services.identity.tests.edge import Edge, Person

# What another service tells of may be heard of late.
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass
class Day:
    """Who lives it, and what nobody else may learn of."""

    edge: Edge
    operator: Person
    database: Database
    relay: RoleDatabase
    grants: Grants
    secrets: set[str] = field(default_factory=set)
    _password: str = ""

    async def live(self) -> Person:
        """From sign-up to the last log-out; answers the owner, who has logged in once more."""
        self._password = self._fresh_password()
        owner = self._told(await self.edge.sign_up(password=self._password))
        await self._call(
            "account",
            "VerifyEmail",
            account_pb2.VerifyEmailRequest(token=await self._mailed(owner, "verify-email")),
        )
        await self._organization(owner)
        await self._elsewhere(owner)
        await self._team(owner)
        owner = await self._second_factor(owner)
        owner = await self._sessions(owner)
        await self._operators(owner)
        owner = await self._passwords(owner)
        await self._end(owner)
        return owner

    async def _organization(self, owner: Person) -> None:
        renamed = organization_pb2.UpdateOrganizationRequest(name="Ferro & Sons")
        await self._call("organizations", "UpdateOrganization", renamed, owner)
        made = await keys.create(self.edge, owner)
        self.secrets.add(made.secret)
        await keys.revoke(self.edge, owner, made.api_key.id)
        as_called = replace(owner.context, client_address="192.0.2.1", request_id=str(uuid4()))
        for plan in (Plan.PRO, Plan.FREE, Plan.PRO):
            async with self.database.tenant_transaction(as_called) as session:
                await subscriptions.choose(session, plan, now=datetime.now(UTC), grants=self.grants)

    async def _elsewhere(self, owner: Person) -> None:
        """What other services tell of."""
        removed = SuppressionRemoved(
            suppression_id=str(new_id()),
            digest=bytes(32),
            reason=SUPPRESSION_REASON_MANUAL,
            actor=Actor(kind=Actor.KIND_USER, id=owner.answer.user.id),
            role=access_pb2.ROLE_ORG_ADMIN,
            client_address="192.0.2.1",
            request_id=str(uuid4()),
        )
        overridden = ReputationOverridden(
            actor=Actor(kind=Actor.KIND_USER, id=self.operator.answer.user.id),
            role=access_pb2.ROLE_SUPER_ADMIN,
            client_address="192.0.2.1",
            request_id=str(uuid4()),
        )
        overridden.after.GetCurrentTime()
        rolled_back = SuppressionsRolledBack(
            entries=2,
            rule="bad_mailbox",
            actor=Actor(kind=Actor.KIND_PROCESS, id="feedback"),
            request_id=str(uuid4()),
        )
        rolled_back.since.GetCurrentTime()
        for event in (
            removed,
            rolled_back,
            overridden,
            *self._looks(),
            *self._webhooks(owner),
            *self._integrations(owner),
            self._copilot(owner),
        ):
            envelope = Envelope(
                id=str(new_id()),
                organization_id=owner.answer.organization.id,
                type=event.DESCRIPTOR.full_name,
                payload=event.SerializeToString(),
            )
            envelope.occurred_at.FromDatetime(YESTERDAY)
            for reader in consumers(None, self.database, AccountMails("", mails.SEALED)):  # type: ignore[arg-type]
                await reader.handle(envelope.SerializeToString())

    def _looks(self) -> Iterator[Message]:
        """An operator looks at the list, and at a message."""
        entries = {"what": "suppressions", "suppression_ids": [str(uuid4())]}
        read, by = AuditedAct.KIND_OPERATOR_READ, access_pb2.ROLE_SUPER_ADMIN
        yield SuppressionActCommitted(act=_act(self.operator, read, None, entries, role=by))
        yield SendingActCommitted(act=_act(self.operator, read, None, {"what": "message_trace"}, role=by))

    def _webhooks(self, owner: Person) -> Iterator[Message]:
        """What is done with an endpoint by its organization, and at last by the platform."""
        whole = {"origin": "https://hooks.test", "event_types": ["*"], "enabled": True}
        types, others = {"event_types": ["*"]}, {"event_types": ["contact.*"], "withheld": ["headers"]}
        on, off = {"enabled": True}, {"enabled": False}
        replay = {
            "replay_id": str(uuid4()),
            "deliveries": "failed",
            "since": "2026-01-01",
            "until": "2026-02-01",
        }
        once = {"endpoint_id": str(uuid4()), "event_type": "contact.created"}
        for kind, before, after in (
            (AuditedAct.KIND_WEBHOOK_ENDPOINT_CREATED, None, whole),
            (AuditedAct.KIND_WEBHOOK_ENDPOINT_UPDATED, types, others),
            (AuditedAct.KIND_WEBHOOK_ENDPOINT_DISABLED, on, off),
            (AuditedAct.KIND_WEBHOOK_ENDPOINT_ENABLED, off, on),
            (AuditedAct.KIND_WEBHOOK_SECRET_ROTATED, None, None),
            (AuditedAct.KIND_WEBHOOK_REPLAY_REQUESTED, None, replay),
            (AuditedAct.KIND_WEBHOOK_DELIVERY_REPLAY_REQUESTED, None, once),
            (AuditedAct.KIND_WEBHOOK_ENDPOINT_DELETED, whole, None),
        ):
            yield WebhookActCommitted(act=_act(owner, kind, before, after))
        yield WebhookEndpointDisabled(endpoint_id=str(new_id()), url="https://hooks.test/in", reason="gone")

    def _copilot(self, owner: Person) -> Message:
        """A question makes a model look at things."""
        used = {"tools": ["list_tags"], "calls": "1"}
        return IntegrationActCommitted(act=_act(owner, AuditedAct.KIND_COPILOT_TOOLS_USED, None, used))

    def _integrations(self, owner: Person) -> Iterator[Message]:
        """A CRM is connected, its fields are mapped, and it is disconnected."""
        account = {"provider": "hubspot", "method": "oauth", "account_id": "4711"}
        mapped = {"field_mappings": ["first_name both firstname, newest"]}
        for kind, before, after in (
            (AuditedAct.KIND_INTEGRATION_CONNECTED, None, account),
            (AuditedAct.KIND_INTEGRATION_FIELDS_MAPPED, mapped, {"field_mappings": []}),
            (AuditedAct.KIND_INTEGRATION_DISCONNECTED, account, None),
        ):
            yield IntegrationActCommitted(act=_act(owner, kind, before, after))

    async def _team(self, owner: Person) -> None:
        removed, left = [await self._invited_and_joined(owner) for _ in range(2)]
        role = team_pb2.UpdateMemberRequest(user_id=removed.answer.user.id, role=access_pb2.ROLE_ORG_ADMIN)
        await self._call("team", "UpdateMember", role, owner)
        await self._call(
            "team", "DeleteMember", team_pb2.DeleteMemberRequest(user_id=removed.answer.user.id), owner
        )
        await self._call("team", "LeaveTeam", team_pb2.LeaveTeamRequest(), left)
        asked = team_pb2.CreateInvitationRequest(
            email=f"{uuid4().hex}@people.test", role=access_pb2.ROLE_MEMBER
        )
        invitation = await self._call("team", "CreateInvitation", asked, owner)
        await self._call(
            "team", "DeleteInvitation", team_pb2.DeleteInvitationRequest(invitation_id=invitation.id), owner
        )

    async def _invited_and_joined(self, owner: Person) -> Person:
        email = f"{uuid4().hex}@people.test"
        asked = team_pb2.CreateInvitationRequest(email=email, role=access_pb2.ROLE_MEMBER)
        await self._call("team", "CreateInvitation", asked, owner)
        token = await self._mailed(owner, "invitation")
        accepted = team_pb2.AcceptInvitationRequest(token=token, name="Ana", password=self._fresh_password())
        return self._told(
            await self.edge.signed_in(email, await self._call("invitations", "AcceptInvitation", accepted))
        )

    async def _second_factor(self, owner: Person) -> Person:
        password = self._password
        enrolled = await self._call(
            "second_factor", "EnrolTotp", second_factor_pb2.EnrolTotpRequest(password=password), owner
        )
        self.secrets |= {enrolled.secret, enrolled.uri}
        seed = TOTP(base64.b32decode(enrolled.secret), 6, SHA1(), 30)
        code = seed.generate(int(time.time())).decode()
        confirmed = await self._call(
            "second_factor", "VerifyTotp", second_factor_pb2.VerifyTotpRequest(code=code), owner
        )
        self.secrets |= set(confirmed.recovery_codes)
        replaced = await self._call(
            "second_factor",
            "ReplaceRecoveryCodes",
            second_factor_pb2.ReplaceRecoveryCodesRequest(
                password=password, code=confirmed.recovery_codes[0]
            ),
            owner,
        )
        self.secrets |= set(replaced.recovery_codes)
        first, second, *_ = replaced.recovery_codes
        request = auth_pb2.LogInRequest(email=owner.email, password=password, code=first)
        owner = self._told(await self.edge.signed_in(owner.email, await self._call("auth", "LogIn", request)))
        disabled = second_factor_pb2.DisableTotpRequest(password=password, code=second)
        await self._call("second_factor", "DisableTotp", disabled, owner)
        return owner

    async def _sessions(self, owner: Person) -> Person:
        with pytest.raises(Unauthenticated):
            await self.edge.log_in(owner.email, "not the password")
        await until(lambda: self._is_recorded(owner, Act.LOG_IN_FAILED))
        ended, left, stolen = [await self._logged_in(owner) for _ in range(3)]
        await self._call(
            "sessions",
            "DeleteSession",
            sessions_pb2.DeleteSessionRequest(session_id=str(ended.session_id)),
            owner,
        )
        await self._call("auth", "LogOut", auth_pb2.LogOutRequest(), left)
        token = stolen.answer.refresh_token
        for _ in range(2):
            token = (await self.edge.refresh(token)).refresh_token
            self.secrets.add(token)
        with pytest.raises(Unauthenticated):
            await self.edge.refresh(stolen.answer.refresh_token)
        await self._call("sessions", "LogOutEverywhere", sessions_pb2.LogOutEverywhereRequest(), owner)
        return await self._logged_in(owner)

    async def _is_recorded(self, owner: Person, act: Act) -> bool:
        async with self.database.tenant_transaction(owner.context, read_only=True) as session:
            return bool(await audit.page(session, before=None, size=1, act=act))

    async def _operators(self, owner: Person) -> None:
        for suspended in (True, False):
            changed = admin_pb2.ChangeOrganizationRequest(
                organization_id=owner.answer.organization.id, suspended=suspended
            )
            await self._call("admin", "ChangeOrganization", changed, self.operator)
        async with aclosing(self.edge.exported(owner.answer.organization.id, self.operator.context)) as given:
            await anext(given)
        await self._erasure(UUID(owner.answer.organization.id))
        # Whether there is a process that could replay anything: that somebody asked for it counts.
        with suppress(Unavailable):
            asked = dead_letters_pb2.ReplayDeadLettersRequest(process="contacts")
            await self._call("dead_letters", "ReplayDeadLetters", asked, self.operator)

    async def _erasure(self, organization_id: UUID) -> None:
        """It is asked for, and taken back."""
        named = str(organization_id)
        asked = admin_pb2.RequestOrganizationErasureRequest(organization_id=named, name="Ferro & Sons")
        taken_back = admin_pb2.TakeBackOrganizationErasureRequest(organization_id=named)
        resumed = admin_pb2.ChangeOrganizationRequest(organization_id=named, suspended=False)
        await self._call("admin", "RequestOrganizationErasure", asked, self.operator)
        await self._call("admin", "TakeBackOrganizationErasure", taken_back, self.operator)
        await self._call("admin", "ChangeOrganization", resumed, self.operator)

    async def _passwords(self, owner: Person) -> Person:
        after = self._fresh_password()
        changed = account_pb2.ChangePasswordRequest(current_password=self._password, password=after)
        await self._call("account", "ChangePassword", changed, owner)
        await self._call("account", "ForgotPassword", account_pb2.ForgotPasswordRequest(email=owner.email))
        token = await self._mailed(owner, "reset-password")
        self._password = self._fresh_password()
        reset = account_pb2.ResetPasswordRequest(token=token, password=self._password)
        await self._call("account", "ResetPassword", reset)
        return await self._logged_in(owner)

    async def _end(self, owner: Person) -> None:
        """What the process that erases writes down; nobody takes the rows away here."""
        named = {"organization_id": owner.answer.organization.id, "name": "Ferro & Sons"}
        request = admin_pb2.RequestOrganizationErasureRequest(**named)
        await self._call("admin", "RequestOrganizationErasure", request, self.operator)
        context = RequestContext.of_process(
            "identity", UUID(owner.answer.organization.id), request_id=str(uuid4())
        )
        async with self.database.tenant_transaction(context) as session:
            await erase(session, now=datetime.now(UTC) + GRACE)

    async def _logged_in(self, owner: Person) -> Person:
        return self._told(await self.edge.log_in(owner.email, self._password))

    def _fresh_password(self) -> str:
        password = f"lantern {uuid4().hex}"
        self.secrets.add(password)
        return password

    def _told(self, person: Person) -> Person:
        self.secrets |= {person.answer.refresh_token, person.answer.access_token.rpartition(".")[2]}
        return person

    async def _mailed(self, owner: Person, page: str) -> str:
        """The token of the last mail that leads to a page, once it is written."""
        found: list[str] = []

        async def is_written() -> bool:
            statement = text("SELECT envelope FROM outbox WHERE organization_id = :id ORDER BY id")
            async with self.relay.transaction() as connection:
                envelopes = (
                    await connection.execute(statement, {"id": UUID(owner.answer.organization.id)})
                ).scalars()
                found[:] = await mails.tokens_in(envelopes, page)
            return bool(found)

        await until(is_written)
        self.secrets.add(found[-1])
        return found[-1]

    async def _call(self, service: str, rpc: str, request: Any, person: Person | None = None) -> Any:
        method = getattr(getattr(self.edge, service), rpc)
        return await self.edge.call(method, request, *((person.context,) if person else ()))


def _act(
    owner: Person,
    kind: AuditedAct.Kind.ValueType,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    role: access_pb2.Role.ValueType = access_pb2.ROLE_ORG_ADMIN,
) -> AuditedAct:
    """An act of the owner's, or of an operator's, in another service."""
    return AuditedAct(
        kind=kind,
        target_id=str(new_id()),
        before=None if before is None else ParseDict(before, Struct()),
        after=None if after is None else ParseDict(after, Struct()),
        actor=Actor(kind=Actor.KIND_USER, id=owner.answer.user.id),
        role=role,
        client_address="192.0.2.1",
        request_id=str(uuid4()),
    )
