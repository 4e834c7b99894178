"""What workflows tell members reaches each once, in the name of their organization, and nobody else."""

from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from chassis.consumer import Consumer
from chassis.context import RequestContext
from chassis.database import Database
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import account_pb2, admin_pb2, team_pb2
from flownurture.identity.v1.events_pb2 import SendAccountMail
from flownurture.identity.v1.organization_pb2 import PLAN_PRO
from flownurture.identity.v1.team_pb2_grpc import MemberDirectoryServiceStub
from flownurture.workflows.v1.events_pb2 import MemberNotice, NotifyMembers
from services.identity.account_mails import AccountMails
from services.identity.consumers import consumers
from services.identity.settings import IdentitySettings
from services.identity.tests import mails
from services.identity.tests.edge import Edge, Person
from services.identity.tests.test_team import join, remove


@pytest.fixture
async def owner(edge: Edge, database: Database, settings: IdentitySettings) -> Person:
    """The owner of an organization with seats for others, whose address is proved."""
    owner = await edge.sign_up(organization_name="Ferro <& Daughters>")
    token = await mails.newest(database, owner, "verify-email")
    await edge.call(edge.account.VerifyEmail, account_pb2.VerifyEmailRequest(token=token))
    assert settings.super_admin_email is not None
    operator = await edge.log_in(settings.super_admin_email)
    put_on_pro = admin_pb2.ChangeOrganizationRequest(
        organization_id=owner.answer.organization.id, plan=PLAN_PRO
    )
    await edge.call(edge.admin.ChangeOrganization, put_on_pro, operator.context)
    return owner


def notice(to: Person, said: str = "Somebody is here.", effect_id: UUID | None = None) -> MemberNotice:
    return MemberNotice(
        effect_id=(effect_id or uuid4()).bytes, user_id=to.answer.user.id, subject="Look", text=said
    )


@pytest.fixture(scope="module")
def readers(database: Database) -> Sequence[Consumer]:
    return consumers(None, database, AccountMails("https://flownurture.test", mails.SEALED))  # type: ignore[arg-type]


async def hear(
    readers: Sequence[Consumer], organization: Person, *notices: MemberNotice, event_id: UUID | None = None
) -> None:
    envelope = Envelope(
        id=str(event_id or new_id()),
        organization_id=organization.answer.organization.id,
        type=NotifyMembers.DESCRIPTOR.full_name,
        payload=NotifyMembers(notices=notices).SerializeToString(),
    )
    for reader in readers:
        await reader.handle(envelope.SerializeToString())


async def ordered(database: Database, organization: Person) -> list[SendAccountMail]:
    """The mails of an organization that tell of a workflow."""
    async with database.tenant_transaction(organization.context) as session:
        envelopes = (await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))).scalars().all()
    told = [Envelope.FromString(envelope) for envelope in envelopes]
    orders = [SendAccountMail.FromString(each.payload) for each in told if each.type.endswith("AccountMail")]
    return [order for order in orders if "A workflow of" in order.text]


async def test_a_member_gets_a_mail_that_says_whose_workflow_wrote_it(
    edge: Edge, database: Database, readers: Sequence[Consumer], owner: Person
) -> None:
    member = await join(edge, database, owner)
    await hear(readers, owner, notice(owner), notice(member, "A <b>new</b> lead:\nAda"))
    first, second = await ordered(database, owner)
    assert (first.to, second.to) == (owner.email, member.email)
    assert second.subject == "Ferro <& Daughters>: Look"
    assert second.text.startswith("A <b>new</b> lead:\nAda\n\nA workflow of Ferro <& Daughters> wrote this")
    assert "<p>A &lt;b&gt;new&lt;/b&gt; lead:<br>Ada</p>" in second.html
    assert "A workflow of Ferro &lt;&amp; Daughters&gt; wrote this" in second.html


async def test_a_notice_is_one_mail_however_often_and_in_whatever_order_it_is_told(
    database: Database, readers: Sequence[Consumer], owner: Person
) -> None:
    first, second, event_id = notice(owner, "first"), notice(owner, "second"), new_id()
    for _ in range(2):
        await hear(readers, owner, first, event_id=event_id)
    await hear(readers, owner, second, first)
    assert [order.text[:6] for order in await ordered(database, owner)] == ["first\n", "second"]


async def test_who_is_no_member_any_more_is_passed_over_and_the_others_are_told(
    edge: Edge, database: Database, readers: Sequence[Consumer], owner: Person
) -> None:
    gone = await join(edge, database, owner)
    await remove(edge, owner, gone)
    await hear(readers, owner, notice(gone), notice(owner))
    assert [order.to for order in await ordered(database, owner)] == [owner.email]


async def test_nobody_of_another_organization_is_told_anything(
    edge: Edge, database: Database, readers: Sequence[Consumer], owner: Person
) -> None:
    stranger = await edge.sign_up()
    token = await mails.newest(database, stranger, "verify-email")
    await edge.call(edge.account.VerifyEmail, account_pb2.VerifyEmailRequest(token=token))
    await hear(readers, owner, notice(stranger))
    assert await ordered(database, owner) == await ordered(database, stranger) == []


async def test_who_has_not_proved_their_address_is_not_written_to(
    edge: Edge, database: Database, readers: Sequence[Consumer]
) -> None:
    unproved = await edge.sign_up()
    await hear(readers, unproved, notice(unproved))
    assert await ordered(database, unproved) == []


async def test_other_processes_learn_who_is_a_member_of_the_organization_they_act_for(
    edge: Edge, database: Database, owner: Person, service_environment: Callable[[str], dict[str, str]]
) -> None:
    gone, stranger = await join(edge, database, owner), await edge.sign_up()
    await remove(edge, owner, gone)
    asked = team_pb2.FindMembersRequest(
        user_ids=[person.answer.user.id for person in (owner, gone, stranger)]
    )
    organization = UUID(owner.answer.organization.id)
    key = Secret(service_environment("sending")["STAMP_PRIVATE_KEY"])
    async with Peer(edge.target, "identity", Stamper("sending", key)) as sending:
        answer = await sending.call(
            MemberDirectoryServiceStub(sending.channel).FindMembers,
            asked,
            RequestContext.of_process("sending", organization),
        )
    assert list(answer.user_ids) == [owner.answer.user.id]
