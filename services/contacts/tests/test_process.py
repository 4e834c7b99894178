"""The process as it is run: its own interpreter, the real broker, and no warning before it dies."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from chassis.events import EventBus
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.settings import EventsSettings
from chassis.stamp import Stamper
from chassis.tests.deadlines import until
from deploy.local.servers.program import free_address
from flownurture.contacts.v1 import contacts_pb2, imports_pb2
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_COMPLAINT
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressedAddress
from services.contacts.tests.tenant import Tenant, Workers

Environment = Callable[[str], dict[str, str]]
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def running(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The contacts process, serving; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.contacts", "serve", cwd=ROOT, env=environment
    )

    async def serving() -> bool:
        assert process.returncode is None
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=1
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    try:
        async with grpc.aio.insecure_channel(environment["LISTEN"]) as channel:
            await until(serving, 20)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def environment(service_environment: Environment) -> dict[str, str]:
    return {
        **os.environ,
        **service_environment("contacts"),
        "LISTEN": free_address(),
        "METRICS_LISTEN": free_address(),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}",
    }


@pytest.fixture
async def member(
    environment: dict[str, str], service_environment: Environment, database: Database, workers: Workers
) -> AsyncIterator[Tenant]:
    """A member of a fresh organization who calls that process."""
    key = Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"])
    async with Peer(environment["LISTEN"], "contacts", Stamper("gateway", key)) as peer:
        yield Tenant(peer, database, workers)


async def test_an_opt_out_told_on_the_bus_shows_in_the_contact(
    environment: dict[str, str], service_environment: Environment, member: Tenant
) -> None:
    async with running(environment) as process:
        ada = await member.add("ada@example.com")
        address = SuppressedAddress(
            digest=EmailAddress.parse(ada.email).digest, reason=SUPPRESSION_REASON_COMPLAINT
        )
        envelope = Envelope(
            id=str(new_id()),
            organization_id=str(member.context.organization),
            type="flownurture.suppression.v1.AddressesSuppressed",
            payload=AddressesSuppressed(addresses=[address]).SerializeToString(),
        )
        sender = service_environment("suppression")
        settings = EventsSettings(**{name.lower(): value for name, value in sender.items()})  # type: ignore[arg-type]
        async with EventBus(settings) as bus:
            await bus.jetstream.publish(
                "flownurture.suppression.addresses_suppressed", envelope.SerializeToString()
            )

        async def complained() -> bool:
            found = await member(contacts_pb2.GetContactRequest(contact_id=ada.id))
            return bool(found.status == contacts_pb2.CONTACT_STATUS_COMPLAINED)

        await until(complained)
        await until(member.everything_is_relayed)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_an_import_outlives_processes_that_are_killed_at_five_random_points(
    environment: dict[str, str], member: Tenant, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(2**32)
    record_property("figure", f"an import killed five times, at points of seed {seed}")
    rows = 40_000
    points = sorted(random.Random(seed).sample(range(1, rows - 5_000), 5))
    lines = [b"r%d@example.com\n" % number for number in range(rows)]
    # Every hundredth row is refused, every hundredth repeats an early one.
    for number in range(50, rows, 100):
        lines[number], lines[number + 1] = b"nobody\n", b"r%d@example.com\n" % (number % 50)
    async with running(environment):
        readers = await member.add_list()
        waiting = await member.upload(b"email\n" + b"".join(lines), list_id=readers.id)

    async def found() -> imports_pb2.Import:
        answer: imports_pb2.Import = await member(imports_pb2.GetImportRequest(import_id=waiting.id))
        return answer

    for point in points:
        async with running(environment) as process:

            async def reached(point: int = point) -> bool:
                try:
                    return (await found()).processed_rows >= point
                except Unavailable:  # the channel has yet to notice that there is a new process
                    return False

            await until(reached, 60)
            process.kill()
            await process.wait()
        await member.execute("UPDATE imports SET lease_until = now() WHERE lease_until IS NOT NULL")
    async with running(environment):

        async def completed() -> bool:
            try:
                return (await found()).status == imports_pb2.IMPORT_STATUS_COMPLETED
            except Unavailable:
                return False

        await until(completed, 60)
        end = await found()
    odd = rows // 100
    assert (end.processed_rows, end.failed_rows, end.duplicate_rows) == (rows, odd, odd), f"seed {seed}"
    assert end.created_contacts == rows - 2 * odd, f"seed {seed}"
    for table in ("contacts", "memberships", "contact_events WHERE type = 'subscribed'"):
        assert await member.count(table) == rows - 2 * odd, f"{table}, seed {seed}"
    assert await member.count("import_row_errors") == odd
