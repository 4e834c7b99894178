"""A stamp is believed only as its issuer made it, by whom it was made for, within its minute."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chassis.context import ActorKind, RequestContext, Role
from chassis.errors import Unauthenticated
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from flownurture.context.v1 import context_pb2 as pb

NOW = 1_800_000_000.0


def private(key: Ed25519PrivateKey) -> Secret:
    return Secret(b64encode(key.private_bytes_raw()).decode())


def public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()


GATEWAY, SENDING, STRANGER = (Ed25519PrivateKey.generate() for _ in range(3))
TRUSTED = {"gateway": public(GATEWAY), "sending": public(SENDING)}
USER = RequestContext(
    issuer="gateway",
    actor_kind=ActorKind.USER,
    actor_id=str(uuid4()),
    role=Role.ORG_ADMIN,
    scopes=frozenset(),
    features=frozenset({"ai_writing"}),
    organization_id=uuid4(),
    limits=(("contacts", 1_000), ("members", 2)),
    cycle_started_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
    session_id=str(uuid4()),
    client_address="203.0.113.9",
    user_agent="curl/8.5",
)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def stamper(clock: Clock | None = None) -> Stamper:
    return Stamper("gateway", private(GATEWAY), clock or Clock())


def verifier(clock: Clock | None = None, audience: str = "contacts") -> StampVerifier:
    return StampVerifier(audience, TRUSTED, clock or Clock())


def signed(content: pb.RequestContext, key: Ed25519PrivateKey = GATEWAY) -> bytes:
    data = content.SerializeToString()
    return pb.SignedContext(context=data, signature=key.sign(data)).SerializeToString()


def genuine(**changes: object) -> pb.RequestContext:
    content = pb.RequestContext(
        issuer="gateway",
        audience="contacts",
        expires_at_ms=int((NOW + 60) * 1000),
        organization_id=str(USER.organization_id),
        actor=pb.Actor(kind=pb.Actor.KIND_USER, id="someone"),
    )
    for field, value in changes.items():
        setattr(content, field, value)
    return content


def test_a_stamp_carries_the_whole_context() -> None:
    context = verifier().verify(stamper().stamp(USER, "contacts"), "request-1", "key-1")
    assert context == replace(USER, request_id="request-1", idempotency_key="key-1")


def test_a_stamp_without_an_organization_gives_a_context_without_one() -> None:
    anonymous = RequestContext("gateway", ActorKind.ANONYMOUS)
    assert verifier().verify(stamper().stamp(anonymous, "contacts")) == anonymous


def test_the_issuer_is_who_signed_and_not_who_the_context_came_from() -> None:
    context = verifier().verify(Stamper("sending", private(SENDING), Clock()).stamp(USER, "contacts"))
    assert context.issuer == "sending"


def swapped_organization() -> bytes:
    stamp = pb.SignedContext.FromString(signed(genuine()))
    stamp.context = genuine(organization_id=str(uuid4())).SerializeToString()
    return stamp.SerializeToString()


def appended_role() -> bytes:
    stamp = pb.SignedContext.FromString(signed(genuine()))
    stamp.context += pb.RequestContext(role=3).SerializeToString()  # type: ignore[arg-type]
    return stamp.SerializeToString()


def actorless() -> pb.RequestContext:
    content = genuine()
    content.ClearField("actor")
    return content


FORGERIES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "noise": lambda: b"\xff" * 100,
    "unsigned": lambda: pb.SignedContext(context=genuine().SerializeToString()).SerializeToString(),
    "a bare context": lambda: genuine().SerializeToString(),
    "signed by a stranger": lambda: signed(genuine(), STRANGER),
    "an issuer nobody knows": lambda: signed(genuine(issuer="webhooks"), STRANGER),
    "no issuer": lambda: signed(genuine(issuer="")),
    "signed by another process than it says": lambda: signed(genuine(issuer="gateway"), SENDING),
    "for another process": lambda: signed(genuine(audience="identity")),
    "for nobody": lambda: signed(genuine(audience="")),
    "expired": lambda: signed(genuine(expires_at_ms=int(NOW * 1000))),
    "without an end": lambda: signed(genuine(expires_at_ms=0)),
    "living over a minute": lambda: signed(genuine(expires_at_ms=int((NOW + 70) * 1000))),
    "another organization swapped in": swapped_organization,
    "a role added": appended_role,
    "an organization that is no id": lambda: signed(genuine(organization_id="mine")),
    "an unknown role": lambda: signed(genuine(role=9)),
    "no actor": lambda: signed(actorless()),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_stamp_is_refused(forgery: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier().verify(FORGERIES[forgery]())


@given(st.data())
def test_a_stamp_with_any_bit_changed_is_refused_or_says_the_same(data: st.DataObject) -> None:
    stamp = bytearray(stamper().stamp(USER, "contacts"))
    stamp[data.draw(st.integers(0, len(stamp) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        context = verifier().verify(bytes(stamp))
    except Unauthenticated:
        return
    # Protobuf knows several spellings of one message; none of them may mean something else.
    assert context == USER


def test_a_stamp_is_refused_once_it_has_expired_even_when_it_was_verified_before() -> None:
    clock = Clock()
    verifies, stamp = verifier(clock), stamper().stamp(USER, "contacts")
    verifies.verify(stamp)
    clock.now += 59.9
    verifies.verify(stamp)
    clock.now += 0.1
    with pytest.raises(Unauthenticated):
        verifies.verify(stamp)


def test_a_verified_stamp_gives_each_request_its_own_id() -> None:
    verifies, stamp = verifier(), stamper().stamp(USER, "contacts")
    assert verifies.verify(stamp, "one").request_id == "one"
    assert verifies.verify(stamp, "two").request_id == "two"


def test_a_stamp_is_made_once_for_the_same_caller_and_never_reused_near_its_end() -> None:
    clock = Clock()
    stamps = stamper(clock)
    first = stamps.stamp(USER, "contacts")
    clock.now += 29
    assert stamps.stamp(replace(USER, request_id="another"), "contacts") == first
    clock.now += 1
    assert stamps.stamp(USER, "contacts") != first


@pytest.mark.parametrize(
    "change",
    [
        {"organization_id": uuid4()},
        {"organization_id": None},
        {"role": Role.MEMBER},
        {"actor_id": "another"},
        {"actor_kind": ActorKind.API_KEY},
        {"session_id": "another"},
        {"scopes": frozenset({"contacts:read"})},
        {"features": frozenset()},
        {"organization_suspended": True},
        {"limits": (("contacts", 1_001), ("members", 2))},
        {"cycle_started_at": None},
        {"client_address": "203.0.113.10"},
        {"user_agent": "curl/8.6"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_remembered_stamp_never_serves_a_caller_that_differs(change: dict[str, object]) -> None:
    stamps, verifies = stamper(), verifier()
    stamps.stamp(USER, "contacts")
    other = replace(USER, **change)  # type: ignore[arg-type]
    assert verifies.verify(stamps.stamp(other, "contacts")) == other


def test_a_remembered_stamp_never_serves_another_audience() -> None:
    stamps = stamper()
    stamps.stamp(USER, "contacts")
    assert verifier(audience="identity").verify(stamps.stamp(USER, "identity")) == USER


def sendings(clock: Clock) -> Stamper:
    return Stamper("sending", private(SENDING), clock)


def clients_call(clock: Clock) -> RequestContext:
    """What a user's call is to sending, which the gateway made it to."""
    return verifier(clock, "sending").verify(stamper(clock).stamp(USER, "sending"), "of-the-call")


def signed_by_sending(proof: bytes, **said: Any) -> bytes:
    content = pb.RequestContext(
        issuer="sending",
        audience="contacts",
        expires_at_ms=int((NOW + 60) * 1000),
        on_behalf_of=proof,
        **said,
    )
    data = content.SerializeToString()
    return pb.SignedContext(context=data, signature=SENDING.sign(data)).SerializeToString()


def test_a_process_calls_for_a_client_with_what_the_gateway_said_of_it_and_nothing_else() -> None:
    clock = Clock()
    seen = verifier(clock).verify(sendings(clock).delegated_stamp(clients_call(clock), "contacts"))
    assert seen == replace(USER, delegate="sending")


def test_a_client_is_called_for_as_long_as_its_request_may_take_and_no_longer() -> None:
    clock = Clock()
    called = clients_call(clock)
    clock.now += 239
    verifier(clock).verify(sendings(clock).delegated_stamp(called, "contacts"))
    clock.now += 2
    with pytest.raises(Unauthenticated, match="too long ago"):
        verifier(clock).verify(sendings(clock).delegated_stamp(called, "contacts"))


def test_the_right_to_call_for_a_client_is_not_passed_on() -> None:
    clock = Clock()
    delegated = sendings(clock).delegated_stamp(clients_call(clock), "contacts")
    seen = verifier(clock).verify(delegated)
    with pytest.raises(Unauthenticated):
        Stamper("contacts", private(STRANGER), clock).delegated_stamp(seen, "identity")
    with pytest.raises(Unauthenticated):
        verifier(clock).verify(signed_by_sending(delegated))


def test_no_process_calls_for_a_client_that_called_none_or_another() -> None:
    clock = Clock()
    with pytest.raises(Unauthenticated):
        sendings(clock).delegated_stamp(RequestContext.of_process("sending", uuid4()), "contacts")
    # Of calls to another process, and of what it stamped itself.
    for proof in (stamper(clock).stamp(USER, "webhooks"), sendings(clock).stamp(USER, "sending"), b"x"):
        with pytest.raises(Unauthenticated):
            verifier(clock).verify(signed_by_sending(proof))


@pytest.mark.parametrize(
    "said",
    [
        {"organization_id": str(uuid4())},
        {"role": Role.SUPER_ADMIN.value},
        {"scopes": ["contacts:read"]},
        {"features": ["ai_copilot"]},
        {"limits": {"contacts": 1}},
        {"actor": pb.Actor(kind=pb.Actor.KIND_USER)},
    ],
)
def test_who_calls_for_a_client_says_nothing_of_it(said: dict[str, object]) -> None:
    clock = Clock()
    proof = stamper(clock).stamp(USER, "sending")
    verifier(clock).verify(signed_by_sending(proof))
    with pytest.raises(Unauthenticated, match="the gateway alone can say"):
        verifier(clock).verify(signed_by_sending(proof, **said))


def test_what_is_signed_for_a_client_is_believed_by_whom_it_was_made_for_alone() -> None:
    clock = Clock()
    delegated = sendings(clock).delegated_stamp(clients_call(clock), "contacts")
    with pytest.raises(Unauthenticated):
        verifier(clock, "identity").verify(delegated)
    clock.now += 61
    with pytest.raises(Unauthenticated, match="expired"):
        verifier(clock).verify(delegated)
