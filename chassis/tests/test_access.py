"""Who may call what: every kind of caller against every kind of rule."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.access import AccessMissing, AccessRule, Audience
from chassis.errors import PermissionDenied, Unauthenticated
from flownurture.contacts.v1 import audience_pb2, contacts_pb2
from flownurture.identity.v1 import admin_pb2, api_keys_pb2, auth_pb2
from flownurture.options.v1 import access_pb2

ANONYMOUS = RequestContext("gateway", ActorKind.ANONYMOUS)
MEMBER = RequestContext("gateway", ActorKind.USER, role=Role.MEMBER, organization_id=uuid4())
ADMIN = replace(MEMBER, role=Role.ORG_ADMIN)
OPERATOR = replace(MEMBER, role=Role.SUPER_ADMIN)
HOMELESS = replace(OPERATOR, organization_id=None)
READER = RequestContext(
    "gateway", ActorKind.API_KEY, scopes=frozenset({"contacts:read"}), organization_id=uuid4()
)
WRITER = replace(READER, scopes=frozenset({"contacts:write"}))
# A key may say it has a role: what binds it is its scopes.
KEY_WITH_A_ROLE = replace(READER, role=Role.SUPER_ADMIN, scopes=frozenset())
WORKER = RequestContext("sending", ActorKind.PROCESS, "sending", organization_id=uuid4())
# The gateway itself is a caller of identity.
GATEWAY = RequestContext("gateway", ActorKind.PROCESS, "gateway")

CALLERS = {
    "anonymous": ANONYMOUS,
    "member": MEMBER,
    "admin": ADMIN,
    "operator": OPERATOR,
    "homeless": HOMELESS,
    "reader": READER,
    "writer": WRITER,
    "key with a role": KEY_WITH_A_ROLE,
    "worker": WORKER,
    "gateway": GATEWAY,
}


def method(module: Any, service: str, name: str) -> MethodDescriptor:
    found: MethodDescriptor = module.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    return found


READS = AccessRule.of(method(contacts_pb2, "ContactService", "GetContact"))
ADMINISTERS = AccessRule.of(method(api_keys_pb2, "ApiKeyService", "CreateApiKey"))
OPERATES = AccessRule.of(method(admin_pb2, "AdminService", "ListOrganizations"))
WORKS = AccessRule.of(method(audience_pb2, "AudienceService", "StreamRecipients"))
SIGNS_UP = AccessRule.of(method(auth_pb2, "AuthService", "SignUp"))
KNOWS_ITSELF = AccessRule.of(method(auth_pb2, "AuthService", "GetMe"))

# For each rule, what becomes of each caller; "in" is let in.
MATRIX = {
    "a tenant's read with a scope": (
        READS,
        {
            "anonymous": "UNAUTHENTICATED",
            "member": "in",
            "admin": "in",
            "operator": "in",
            "homeless": "INSUFFICIENT_ROLE",
            "reader": "in",
            "writer": "INSUFFICIENT_SCOPE",
            "key with a role": "INSUFFICIENT_SCOPE",
            "worker": "CALLER_NOT_ALLOWED",
            "gateway": "UNAUTHENTICATED",
        },
    ),
    "a tenant's administration without a scope": (
        ADMINISTERS,
        {
            "anonymous": "UNAUTHENTICATED",
            "member": "INSUFFICIENT_ROLE",
            "admin": "in",
            "operator": "in",
            "homeless": "INSUFFICIENT_ROLE",
            "reader": "INSUFFICIENT_SCOPE",
            "writer": "INSUFFICIENT_SCOPE",
            "key with a role": "INSUFFICIENT_SCOPE",
            "worker": "CALLER_NOT_ALLOWED",
            "gateway": "UNAUTHENTICATED",
        },
    ),
    "the platform's operation": (
        OPERATES,
        {
            "anonymous": "UNAUTHENTICATED",
            "member": "INSUFFICIENT_ROLE",
            "admin": "INSUFFICIENT_ROLE",
            "operator": "in",
            "homeless": "in",
            "reader": "INSUFFICIENT_SCOPE",
            "writer": "INSUFFICIENT_SCOPE",
            "key with a role": "INSUFFICIENT_SCOPE",
            "worker": "CALLER_NOT_ALLOWED",
            "gateway": "UNAUTHENTICATED",
        },
    ),
    "work between processes": (
        WORKS,
        dict.fromkeys(CALLERS, "CALLER_NOT_ALLOWED") | {"worker": "in"},
    ),
    "anybody's": (SIGNS_UP, dict.fromkeys(CALLERS, "in") | {"worker": "CALLER_NOT_ALLOWED"}),
    "an account's own": (
        KNOWS_ITSELF,
        {
            "anonymous": "UNAUTHENTICATED",
            "member": "in",
            "admin": "in",
            "operator": "in",
            "homeless": "in",
            "reader": "INSUFFICIENT_SCOPE",
            "writer": "INSUFFICIENT_SCOPE",
            "key with a role": "INSUFFICIENT_SCOPE",
            "worker": "CALLER_NOT_ALLOWED",
            "gateway": "UNAUTHENTICATED",
        },
    ),
}


@pytest.mark.parametrize(
    ("rule", "caller"),
    [(rule, caller) for rule, (_, outcomes) in MATRIX.items() for caller in outcomes],
)
def test_the_matrix_of_callers_and_rules(rule: str, caller: str) -> None:
    access, outcomes = MATRIX[rule]
    outcome = "in"
    try:
        access.check(CALLERS[caller])
    except (PermissionDenied, Unauthenticated) as refusal:
        outcome = refusal.reason
    assert outcome == outcomes[caller]


def test_the_matrix_has_a_place_for_every_caller_and_every_audience() -> None:
    assert all(outcomes.keys() == CALLERS.keys() for _, outcomes in MATRIX.values())
    assert {rule.audience for rule, _ in MATRIX.values()} == set(Audience)


@pytest.mark.parametrize("caller", [MEMBER, READER], ids=["user", "key"])
def test_a_feature_outside_the_plan_is_refused_to_users_and_keys_alike(caller: RequestContext) -> None:
    rule = replace(READS, feature="ai_writing")
    with pytest.raises(PermissionDenied) as refusal:
        rule.check(caller)
    assert refusal.value.reason == "PLAN_UPGRADE_REQUIRED"
    rule.check(replace(caller, features=frozenset({"ai_writing"})))


def synthetic(access: access_pb2.Access | None) -> MethodDescriptor:
    """The one RPC of a service that exists for this test alone."""
    name = f"probe_{uuid4().hex}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto3")
    file.message_type.add(name="Nothing")
    rpc = file.service.add(name="ProbeService").method.add(
        name="Probe", input_type=f".{name}.Nothing", output_type=f".{name}.Nothing"
    )
    if access is not None:
        rpc.options.Extensions[access_pb2.access].CopyFrom(access)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{name}.ProbeService").methods[0]


@pytest.mark.parametrize(
    "access",
    [None, access_pb2.Access(), access_pb2.Access(audience=access_pb2.AUDIENCE_INTERNAL)],
    ids=["no option", "no audience", "internal for nobody"],
)
def test_an_rpc_that_does_not_say_who_may_call_it_has_no_rule(access: access_pb2.Access | None) -> None:
    rpc = synthetic(access)
    with pytest.raises(AccessMissing, match=rpc.full_name):
        AccessRule.of(rpc)


@pytest.mark.parametrize(
    ("audience", "least"),
    [(access_pb2.AUDIENCE_TENANT, Role.MEMBER), (access_pb2.AUDIENCE_PLATFORM, Role.SUPER_ADMIN)],
)
def test_an_rpc_that_names_no_role_takes_the_least_that_its_audience_has(audience: Any, least: Role) -> None:
    assert AccessRule.of(synthetic(access_pb2.Access(audience=audience))).role is least


def test_a_delegate_reads_for_a_client_where_it_is_named_and_within_its_rights() -> None:
    named = replace(READS, delegates=frozenset({"integrations"}))
    by_a_key, by_a_member = (replace(each, delegate="integrations") for each in (READER, MEMBER))
    for context in (by_a_key, by_a_member):
        named.check(context)
        for rule in (READS, ADMINISTERS, OPERATES, WORKS, SIGNS_UP, KNOWS_ITSELF):
            with pytest.raises(PermissionDenied) as refused:
                rule.check(context)
            assert refused.value.reason == "CALLER_NOT_ALLOWED"
    for beyond, reason in (
        (replace(WRITER, delegate="integrations"), "INSUFFICIENT_SCOPE"),
        (replace(MEMBER, delegate="sending"), "CALLER_NOT_ALLOWED"),
    ):
        with pytest.raises(PermissionDenied) as refused:
            named.check(beyond)
        assert refused.value.reason == reason
