"""Who calls for a client (ADR 0048), asked of each process itself: every RPC of the contract, by every process that could say it does.

What is expected follows from the descriptors, as in the rest of the access matrix: a delegate that the RPC names gets what the client would get,
and nobody else gets anything.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

import grpc.aio
import pytest

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.access import AccessRule
from chassis.identifiers import new_id
from chassis.secret import Secret
from chassis.stamp import DELEGATION, LIFETIME, Stamper
from flownurture.context.v1 import context_pb2 as pb
from proto.house_rules import PROCESSES
from services.identity.plans import Plan, entitlements
from services.identity.scopes import SCOPES
from tests.integration.house import House
from tests.integration.test_access_matrix import (
    PASSES,
    Matrix,
    RecordProperty,
    code_of,
    expected_of_a_process,
    in_small_groups,
    stamped,
)
from tests.integration.test_stamps import RPCS

# By this time what the gateway stamped shows a client's call no more.
_TOO_LONG_AGO = DELEGATION + 1
DELEGATES = {path: AccessRule.of(rpc).delegates for path, rpc in RPCS.items()}
NAMING = [path for path, delegates in DELEGATES.items() if delegates]
CLIENTS = [(name, context) for name, issuer, context in stamped() if issuer == "gateway"]
# May do all that users of organizations may, and all that keys may.
MIGHTY = RequestContext(
    issuer="gateway",
    actor_kind=ActorKind.USER,
    actor_id=str(new_id()),
    role=Role.ORG_ADMIN,
    organization_id=new_id(),
    session_id=str(new_id()),
    features=entitlements(Plan.ENTERPRISE).features,
)
MIGHTY_KEY = replace(MIGHTY, actor_kind=ActorKind.API_KEY, session_id="", role=Role.NONE, scopes=SCOPES)


@dataclass(frozen=True)
class Stamps:
    """Whatever anybody could stamp who had all the keys."""

    keys: Mapping[str, str]

    def by(self, process: str, ago: float = 0) -> Stamper:
        return Stamper(process, Secret(self.keys[process]), lambda: time.time() - ago)

    def call(self, client: RequestContext, delegate: str, ago: float = 0) -> bytes:
        """What the gateway gives a process with a client's call."""
        return self.by("gateway", ago).stamp(client, delegate)

    def delegated(
        self, client: RequestContext, delegate: str, process: str, proof: bytes | None = None
    ) -> bytes:
        """By which the delegate calls a process for that client, showing the client's call or something else."""
        shown = self.call(client, delegate) if proof is None else proof
        return self.by(delegate).delegated_stamp(replace(client, stamp=shown), process)

    def saying(self, said: pb.RequestContext, delegate: str, process: str) -> bytes:
        """The same by a delegate that says something of the client itself."""
        honest = pb.SignedContext.FromString(self.delegated(MIGHTY, delegate, process))
        content = pb.RequestContext.FromString(honest.context)
        content.MergeFrom(said)
        return self.by(delegate)._signed(content)


# Makes what one of the delegates shows to a process; none of it shows the call of a client that reached it.
Forge = Callable[[Stamps, str], bytes]
_SAID: dict[str, pb.RequestContext] = {
    "another organization": pb.RequestContext(organization_id=str(new_id())),
    "another role": pb.RequestContext(role=Role.SUPER_ADMIN.value),  # type: ignore[arg-type]
    "more scopes": pb.RequestContext(scopes=sorted(SCOPES)),
    "a larger plan": pb.RequestContext(features=sorted(MIGHTY.features), limits={"contacts": 10**9}),
    "another actor": pb.RequestContext(actor=pb.Actor(kind=pb.Actor.KIND_USER, id=str(new_id()))),
    "another session": pb.RequestContext(session_id=str(new_id())),
}


def _saying(said: pb.RequestContext) -> Forge:
    return lambda stamps, process: stamps.saying(said, "integrations", process)


def _showing(proof: Callable[[Stamps, str], bytes]) -> Forge:
    return lambda stamps, process: stamps.delegated(MIGHTY, "integrations", process, proof(stamps, process))


FORGERIES: dict[str, Forge] = {
    "no call at all": _showing(lambda _stamps, _process: b"x"),
    "a call of too long ago": _showing(
        lambda stamps, _: stamps.call(MIGHTY, "integrations", _TOO_LONG_AGO + LIFETIME)
    ),
    "a client's call to another process": _showing(lambda stamps, _: stamps.call(MIGHTY, "webhooks")),
    "a client's call to the process that is called": _showing(
        lambda stamps, process: stamps.call(MIGHTY, process if process != "integrations" else "contacts")
    ),
    "a call that it made up": _showing(
        lambda stamps, _: stamps.by("integrations").stamp(MIGHTY, "integrations")
    ),
    "a call that another process made up": _showing(
        lambda stamps, _: stamps.by("contacts").stamp(MIGHTY, "integrations")
    ),
    "a call that it was itself called by for a client": _showing(
        lambda stamps, _: stamps.delegated(MIGHTY, "sending", "integrations")
    ),
    "a call for a client to another process": lambda stamps, process: stamps.delegated(
        MIGHTY, "integrations", "webhooks" if process != "webhooks" else "contacts"
    ),
    "a call that another process signed": lambda stamps, process: Stamper(
        "integrations", Secret(stamps.keys["webhooks"])
    ).delegated_stamp(replace(MIGHTY, stamp=stamps.call(MIGHTY, "integrations")), process),
    **{f"a call, and {what}": _saying(said) for what, said in _SAID.items()},
}


@pytest.fixture(scope="module")
async def channels(house: House) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    channels = {name: grpc.aio.insecure_channel(address) for name, address in house.services().items()}
    yield channels
    await asyncio.gather(*(channel.close(None) for channel in channels.values()))


@pytest.fixture(scope="module")
async def served(channels: dict[str, grpc.aio.Channel]) -> list[tuple[str, str]]:
    """Each RPC at each process that has it."""
    return [
        (path, process)
        for path in RPCS
        for process, channel in channels.items()
        if await code_of(channel, path, b"") is not grpc.StatusCode.UNIMPLEMENTED
    ]


@pytest.fixture(scope="module")
def stamps(house: House) -> Stamps:
    return Stamps(house.secrets.stamp_keys)


def expected(path: str, delegate: str, client: RequestContext) -> grpc.StatusCode | str:
    """What the client would get, for a delegate that the RPC names; else the refusal."""
    if delegate not in DELEGATES[path]:
        return grpc.StatusCode.PERMISSION_DENIED
    return expected_of_a_process(RPCS[path], client)


async def test_a_delegate_gets_what_the_client_would_get_where_it_is_named_and_nobody_gets_anything_else(
    channels: dict[str, grpc.aio.Channel],
    served: list[tuple[str, str]],
    stamps: Stamps,
    record_property: RecordProperty,
) -> None:
    matrix = Matrix()

    async def ask(path: str, process: str, delegate: str, name: str, client: RequestContext) -> None:
        verdict = expected(path, delegate, client)
        code = await code_of(channels[process], path, stamps.delegated(client, delegate, process))
        # The request is no message: whoever is let past the rules is told that.
        right = code is (grpc.StatusCode.INVALID_ARGUMENT if verdict == PASSES else verdict)
        matrix.enter(f"{process}{path}", f"{delegate} for {name}", verdict, code, agrees=right)

    mighty = [("an ORG_ADMIN with everything", MIGHTY), ("a key with everything", MIGHTY_KEY)]
    for delegate in sorted(PROCESSES - {"gateway"}):
        for name, client in mighty:
            await in_small_groups(ask(path, process, delegate, name, client) for path, process in served)
    for name, client in CLIENTS:
        await in_small_groups(
            ask(path, process, "integrations", name, client) for path, process in served if path in NAMING
        )
    record_property("figure", f"access matrix of delegates: {matrix}")
    assert matrix.differing == []
    assert matrix.cells[PASSES] > len(NAMING)


async def test_who_does_not_show_the_call_of_a_client_that_reached_it_is_nobody(
    channels: dict[str, grpc.aio.Channel],
    served: list[tuple[str, str]],
    stamps: Stamps,
    record_property: RecordProperty,
) -> None:
    matrix, nobody = Matrix(), grpc.StatusCode.UNAUTHENTICATED

    async def ask(path: str, process: str, what: str) -> None:
        code = await code_of(channels[process], path, FORGERIES[what](stamps, process))
        matrix.enter(f"{process}{path}", f"who shows {what}", nobody, code, agrees=code is nobody)

    for what in FORGERIES:
        await in_small_groups(ask(path, process, what) for path, process in served)
    record_property("figure", f"access matrix of those who only say they are delegates: {matrix}")
    assert matrix.differing == []


def test_only_reads_for_copilot_name_a_delegate() -> None:
    assert {delegate for delegates in DELEGATES.values() for delegate in delegates} == {"integrations"}
    assert len(NAMING) == 12
