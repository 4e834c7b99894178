"""Who may do what, asked of the running platform: every RPC of the contract, by every kind of caller.

The RPCs and their rules come from the descriptors, the expectation from the rules as docs/access.md words them, so an RPC that
is added has its cells here at once. First the gateway is asked, as clients ask it; then each process itself, with stamps.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import grpc.aio
import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.access import Audience
from chassis.identifiers import new_id
from chassis.secret import Secret
from chassis.stamp import STAMP_METADATA, Stamper
from deploy.demo.client import Client, Json
from flownurture.options.v1 import access_pb2
from proto.house_rules import PROCESSES
from services.identity.plans import Plan, entitlements
from services.identity.scopes import SCOPES
from tests.integration.house import House
from tests.integration.operations import ALIKE, ENDPOINTS, Belongings, Operation, operation
from tests.integration.quick_client import QuickClient
from tests.integration.team import member_of
from tests.integration.tenants import Tenant, make_key, sign_up
from tests.integration.test_isolation import furnish
from tests.integration.test_stamps import RPCS

RecordProperty = Callable[[str, object], None]
# What an operator does to an organization.
Change = Callable[[Tenant, Json], Awaitable[None]]

_AT_ONCE = 8

PASSES = "passes"
NOT_FOUND = (404, "not-found")
UNAUTHENTICATED = (401, "unauthenticated")
# What a call is answered with: the status, and the problem's name if it is one.
Answer = tuple[int, str]

# The scopes that some RPC takes.
IN_USE = frozenset(endpoint.access.scope for endpoint in ENDPOINTS.values()) - {""}
# Operations on a thing that the path names.
WITH_IDS = [
    name
    for name, endpoint in ENDPOINTS.items()
    if set(endpoint.template.variables) - ALIKE.keys() and endpoint.access.audience is Audience.TENANT
]
# How those are answered whom the rules let pass, where it is not the usual success: the request proves or names nothing.
PASSING: dict[str, set[Answer]] = {
    "identity.v1.AccountService.ChangePassword": {(422, "invalid-request")},
    "identity.v1.SecondFactorService.EnrolTotp": {(422, "invalid-request")},
    "identity.v1.SecondFactorService.VerifyTotp": {(409, "conflict")},
    "identity.v1.SecondFactorService.ReplaceRecoveryCodes": {(422, "invalid-request")},
    "identity.v1.SecondFactorService.DisableTotp": {(422, "invalid-request")},
    "identity.v1.SessionService.SwitchMembership": {NOT_FOUND},
    # A member leaves; who is alone cannot.
    "identity.v1.TeamService.LeaveTeam": {(204, ""), (409, "conflict")},
    # Its lists are looked for when it is launched.
    "sending.v1.CampaignService.CreateCampaign": {(201, "")},
    # What a document names is told by its place in it, and of many events each is taken or refused for itself.
    "sending.v1.WorkflowService.CreateWorkflow": {(422, "invalid-request")},
    "sending.v1.CustomEventService.BatchCreateCustomEvents": {(202, "")},
    # The house's operator has no language model.
    "integrations.v1.WritingService.WriteMail": {(503, "unavailable")},
    # Of a house's own accord no CRM is set up.
    "integrations.v1.ConnectionService.CreateConnection": {(409, "conflict")},
    "integrations.v1.AuthorizationService.BeginAuthorization": {(409, "conflict")},
    "integrations.v1.CopilotService.AskCopilot": {(503, "unavailable")},
    # Whoever may make endpoints makes as many as the plan allows.
    "webhooks.v1.WebhookEndpointService.CreateWebhookEndpoint": {(201, ""), (403, "plan-limit-exceeded")},
}
# Operations that end the session which asks: each cell has one of its own to spend. They are asked one after another, and in
# this order, since the last ends every session of its person.
ENDS_ITS_SESSION = (
    "identity.v1.AuthService.LogOut",
    "identity.v1.TeamService.LeaveTeam",
    "identity.v1.SessionService.LogOutEverywhere",
)


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the gateway."""

    name: str
    credential: str | None
    role: Role = Role.NONE
    # Of a key; None for a user.
    scopes: frozenset[str] | None = None
    features: frozenset[str] = frozenset()
    in_an_organization: bool = True
    suspended: bool = False
    # Whether the credential was taken back.
    gone: bool = False
    # Another credential of the same kind, for who spends it.
    another: Callable[[], Awaitable[str]] | None = None


def expected(rpc: MethodDescriptor, caller: Caller) -> Answer | str:  # noqa: PLR0911 - a rule a line
    """What the rules say: PASSES, or the refusal."""
    rule = rpc.GetOptions().Extensions[access_pb2.access]
    if rule.audience == access_pb2.AUDIENCE_PUBLIC:
        return PASSES
    if caller.credential is None or caller.gone:
        return UNAUTHENTICATED
    of_a_tenant = rule.audience == access_pb2.AUDIENCE_TENANT
    if of_a_tenant and caller.suspended:
        return 403, "organization-suspended"
    if caller.scopes is not None and not (of_a_tenant and rule.scope and rule.scope in caller.scopes):
        return 403, "insufficient-scope"
    if rule.audience == access_pb2.AUDIENCE_ACCOUNT:
        return PASSES
    if caller.scopes is None and caller.role.value < rule.role:
        return 403, "insufficient-role"
    if of_a_tenant and not caller.in_an_organization:
        return 403, "insufficient-role"
    if rule.feature and rule.feature not in caller.features:
        return 403, "plan-upgrade-required"
    return PASSES


@dataclass
class Matrix:
    """The cells that were asked, and those that differ from what the rules say."""

    cells: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)

    def enter(self, rpc: str, caller: str, wanted: object, seen: object, *, agrees: bool) -> None:
        """Count a cell."""
        self.cells[str(wanted)] += 1
        if not agrees:
            self.differing.append(f"{rpc} by {caller}: {seen}, expected {wanted}")

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {wanted}" for wanted, count in sorted(self.cells.items()))
        return f"{self.cells.total()} cells, {len(self.differing)} differ ({kinds})"


@pytest.fixture(scope="module")
async def api(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30, verify=False) as api:
        yield api


@pytest.fixture
async def gateway(house: House) -> AsyncIterator[QuickClient]:
    async with QuickClient(house.gateway_url) as gateway:
        yield gateway


@dataclass(frozen=True)
class Cast:
    """All who call, and what the organization has that others try to reach."""

    callers: list[Caller]
    strangers: list[Caller]
    owners: list[Caller]
    own: Belongings


@pytest.fixture(scope="module")
async def cast(house: House, api: httpx.AsyncClient) -> Cast:
    """One of every kind, each in an organization of its own, so that none stands in another's way."""
    login = house.facts["super_admin"]

    async def operator() -> str:
        return str((await Client(api).post("/v1/auth/login", login))["access_token"])

    async def owner() -> str:
        return (await sign_up(api)).access_token

    async def member() -> str:
        return (await member_of(await sign_up(api), api, house))[0]

    async def change(tenant: Tenant, body: Json) -> None:
        # Each time as somebody who signed in just now: one of the callers ends all sessions of the operator.
        admin = Client(api, await operator())
        await admin.patch(f"/v1/admin/organizations/{tenant.organization_id}", body)

    tenant, rival = await sign_up(api), await sign_up(api)
    return Cast(
        callers=[
            Caller("nobody", None),
            Caller("nonsense", "nonsense", gone=True),
            Caller("a MEMBER", await member(), Role.MEMBER, another=member),
            Caller("an ORG_ADMIN", await owner(), Role.ORG_ADMIN, another=owner),
            Caller(
                "a SUPER_ADMIN",
                await operator(),
                Role.SUPER_ADMIN,
                in_an_organization=False,
                another=operator,
            ),
            Caller("a removed member", await removed_member(api, house), Role.MEMBER, gone=True),
            Caller("a revoked key", await revoked_key(tenant), scopes=SCOPES, gone=True),
            *await of_a_suspended_organization(api, change),
            *await of_each_plan(api, change),
            *await keys_of_each_scope(tenant),
        ],
        strangers=[
            Caller("an ORG_ADMIN of another organization", rival.access_token, Role.ORG_ADMIN),
            Caller("a key of another organization", rival.secret, scopes=IN_USE),
        ],
        owners=[
            Caller("the owner", tenant.access_token, Role.ORG_ADMIN),
            Caller("a key of the owner's", tenant.secret, scopes=IN_USE),
        ],
        own=await furnish(tenant, house),
    )


async def removed_member(api: httpx.AsyncClient, house: House) -> str:
    team = await sign_up(api)
    token, user_id = await member_of(team, api, house)
    await team.owner.delete(f"/v1/team/members/{user_id}")
    return token


async def revoked_key(tenant: Tenant) -> str:
    key = await make_key(tenant.owner, SCOPES)
    await tenant.owner.delete(f"/v1/api-keys/{key['api_key']['id']}")
    return str(key["secret"])


async def of_a_suspended_organization(api: httpx.AsyncClient, change: Change) -> list[Caller]:
    async def suspended() -> Tenant:
        tenant = await sign_up(api)
        await change(tenant, {"suspended": True})
        return tenant

    async def another() -> str:
        return (await suspended()).access_token

    tenant = await suspended()
    return [
        Caller("a suspended ORG_ADMIN", tenant.access_token, Role.ORG_ADMIN, suspended=True, another=another),
        Caller("a suspended key", tenant.secret, scopes=IN_USE, suspended=True),
    ]


async def of_each_plan(api: httpx.AsyncClient, change: Change) -> list[Caller]:
    async def on(plan: Plan) -> Tenant:
        tenant = await sign_up(api)
        await change(tenant, {"plan": plan.value})
        return tenant

    callers = []
    for plan in Plan:
        tenant, features = await on(plan), entitlements(plan).features

        async def another(plan: Plan = plan) -> str:
            return (await on(plan)).access_token

        callers += [
            Caller(
                f"an ORG_ADMIN on {plan}",
                tenant.access_token,
                Role.ORG_ADMIN,
                features=features,
                another=another,
            ),
            Caller(f"a key on {plan}", tenant.secret, scopes=IN_USE, features=features),
        ]
    return callers


async def keys_of_each_scope(tenant: Tenant) -> list[Caller]:
    """A key with each scope alone, and for each scope that an RPC takes a key with all others."""
    granted = [(f"a key with {scope}", frozenset((scope,))) for scope in sorted(SCOPES)]
    granted += [(f"a key without {scope}", SCOPES - {scope}) for scope in sorted(IN_USE)]
    keys = [await make_key(tenant.owner, scopes) for _, scopes in granted]
    return [
        Caller(name, key["secret"], scopes=scopes) for (name, scopes), key in zip(granted, keys, strict=True)
    ]


async def test_the_gateway_answers_every_caller_as_the_contract_says(
    gateway: QuickClient, cast: Cast, record_property: RecordProperty
) -> None:
    matrix = Matrix()

    async def ask(name: str, caller: Caller) -> None:
        wanted = operation(name)
        verdict = expected(wanted.endpoint.rpc, caller)
        credential = caller.credential
        if verdict == PASSES and name in ENDS_ITS_SESSION and caller.another:
            credential = await caller.another()
        answer = await call(gateway, wanted, credential)
        matrix.enter(name, caller.name, verdict, answer, agrees=agrees(wanted, verdict, answer))

    for caller in cast.callers:
        await in_small_groups(ask(name, caller) for name in ENDPOINTS.keys() - set(ENDS_ITS_SESSION))
        for name in ENDS_ITS_SESSION:
            await ask(name, caller)
    for caller, names in ((caller, WITH_IDS) for caller in (*cast.strangers, *cast.owners)):
        for name in names:
            wanted = operation(name)
            verdict = expected(wanted.endpoint.rpc, caller)
            mine = caller in cast.owners
            if mine and wanted.endpoint.verb != "GET":
                continue
            answer = await call(gateway, wanted, caller.credential, cast.own)
            seen_by_others = NOT_FOUND if verdict == PASSES else verdict
            right = answer == ((200, "") if mine and verdict == PASSES else seen_by_others)
            matrix.enter(name, caller.name, verdict if mine else seen_by_others, answer, agrees=right)
    record_property("figure", f"access matrix at the gateway: {matrix}")
    assert matrix.differing == []


async def call(
    gateway: QuickClient, wanted: Operation, credential: str | None, own: Belongings | None = None
) -> Answer:
    """The answer to the operation's request; without `own` it names things that nobody has."""
    nobodys = Nobodys(number=ALIKE["number"], provider=ALIKE["provider"])
    answer = await gateway.ask(wanted.request(credential, own or nobodys))
    is_problem = answer.content_type == "application/problem+json"
    return answer.status, json.loads(answer.body)["type"].rpartition("/")[2] if is_problem else ""


class Nobodys(dict[str, str]):
    """Ids of things that nobody has."""

    def __missing__(self, name: str) -> str:
        return str(new_id())


def agrees(wanted: Operation, verdict: Answer | str, answer: Answer) -> bool:
    """Whether the answer is the refusal that the rules ask for, or one of whom they let pass."""
    if verdict != PASSES:
        return answer == verdict
    if wanted.endpoint.access.audience is Audience.PUBLIC:
        # What is asked here proves nothing, so a proof is refused: but nobody is told that they may not ask.
        return answer[0] in (200, 202, 404, 422) or answer == UNAUTHENTICATED
    if wanted.name in PASSING:
        return answer in PASSING[wanted.name]
    if wanted.names_things:
        return answer == NOT_FOUND
    return answer == (wanted.endpoint.success_status, "")


async def in_small_groups(asked: Iterable[Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(ask: Awaitable[None]) -> None:
        async with slots:
            await ask

    await asyncio.gather(*map(one, asked))


# Who calls a process: the stamp's issuer, and the context it stamps.
Stamped = tuple[str, str, RequestContext]


def stamped() -> Iterator[Stamped]:
    """Every kind of context that a process could be called with, honestly signed."""
    user = RequestContext(
        issuer="gateway",
        actor_kind=ActorKind.USER,
        actor_id=str(new_id()),
        organization_id=new_id(),
        session_id=str(new_id()),
    )
    key = replace(user, actor_kind=ActorKind.API_KEY, session_id="")
    yield "anonymous", "gateway", RequestContext(issuer="gateway", actor_kind=ActorKind.ANONYMOUS)
    for role in Role:
        yield f"a user as {role.name}", "gateway", replace(user, role=role)
        yield f"a suspended {role.name}", "gateway", replace(user, role=role, organization_suspended=True)
    yield "an operator", "gateway", replace(user, role=Role.SUPER_ADMIN, organization_id=None)
    for scope in (*sorted(SCOPES), "everything:write", ""):
        yield f"a key with {scope or 'nothing'}", "gateway", replace(key, scopes=frozenset((scope,)) - {""})
    for scope in sorted(IN_USE):
        yield f"a key without {scope}", "gateway", replace(key, scopes=SCOPES - {scope})
    for plan in Plan:
        features = entitlements(plan).features
        yield f"an ORG_ADMIN on {plan}", "gateway", replace(user, role=Role.ORG_ADMIN, features=features)
        yield f"a key on {plan}", "gateway", replace(key, scopes=SCOPES, features=features)
    yield "a suspended key", "gateway", replace(key, scopes=SCOPES, organization_suspended=True)
    for process in sorted(PROCESSES):
        yield f"{process} by itself", process, RequestContext.of_process(process, new_id())
        yield f"an ORG_ADMIN through {process}", process, replace(user, role=Role.ORG_ADMIN, issuer=process)


def expected_of_a_process(rpc: MethodDescriptor, context: RequestContext) -> grpc.StatusCode | str:
    """What the rules say: PASSES, or the refusal's code."""
    rule = rpc.GetOptions().Extensions[access_pb2.access]
    internal = rule.audience == access_pb2.AUDIENCE_INTERNAL
    if context.issuer not in (rule.callers if internal else ("gateway",)):
        return grpc.StatusCode.PERMISSION_DENIED
    if internal or rule.audience == access_pb2.AUDIENCE_PUBLIC:
        return PASSES
    if context.actor_kind not in (ActorKind.USER, ActorKind.API_KEY):
        return grpc.StatusCode.UNAUTHENTICATED
    caller = Caller(
        "",
        "",
        context.role,
        scopes=context.scopes if context.actor_kind is ActorKind.API_KEY else None,
        features=context.features,
        in_an_organization=context.organization_id is not None,
        suspended=context.organization_suspended,
    )
    return PASSES if expected(rpc, caller) == PASSES else grpc.StatusCode.PERMISSION_DENIED


async def test_every_process_answers_every_context_as_the_contract_says(
    house: House, record_property: RecordProperty
) -> None:
    matrix = Matrix()
    stampers = {process: Stamper(process, Secret(key)) for process, key in house.secrets.stamp_keys.items()}
    channels = {name: grpc.aio.insecure_channel(address) for name, address in house.services().items()}

    async def ask(path: str, process: str, by: Stamped) -> None:
        name, issuer, context = by
        verdict = expected_of_a_process(RPCS[path], context)
        code = await code_of(channels[process], path, stampers[issuer].stamp(context, process))
        # The request is no message: whoever is let past the rules is told that.
        right = code is (grpc.StatusCode.INVALID_ARGUMENT if verdict == PASSES else verdict)
        matrix.enter(f"{process}{path}", name, verdict, code, agrees=right)

    served = [
        (path, process)
        for path in RPCS
        for process, channel in channels.items()
        if await code_of(channel, path, b"") is not grpc.StatusCode.UNIMPLEMENTED
    ]
    assert {path for path, _ in served} == RPCS.keys()
    for by in stamped():
        await in_small_groups(ask(path, process, by) for path, process in served)
    await asyncio.gather(*(channel.close(None) for channel in channels.values()))
    record_property("figure", f"access matrix at the processes: {matrix}")
    assert matrix.differing == []


async def code_of(channel: grpc.aio.Channel, path: str, stamp: bytes) -> grpc.StatusCode:
    """How a call ends whose request cannot be decoded."""
    undecodable, metadata = b"\xff", ((STAMP_METADATA, stamp),)
    try:
        if RPCS[path].client_streaming:
            await channel.stream_unary(path, bytes, bytes)(
                iter((undecodable,)), metadata=metadata, timeout=10
            )
        else:
            await channel.unary_unary(path, bytes, bytes)(undecodable, metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as refusal:
        return refusal.code()
    return grpc.StatusCode.OK
