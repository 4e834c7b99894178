"""What was decided of each message, by which list, is written down so that no change of it goes unseen."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from google.api.httpbody_pb2 import HttpBody
from typer.testing import CliRunner

from chassis.database import Database, RoleDatabase
from chassis.tests.deadlines import until
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import preferences_pb2, suppressions_pb2
from services.sending.analytics.retention import EventRetention
from services.sending.delivery.claims import claim
from services.sending.delivery.settings import DeliverySettings
from services.sending.identity_peer import IdentityPeer
from services.sending.preference_links import PreferenceLinks
from services.sending.statuses import SuppressionReason
from services.sending.suppression.decisions import command
from services.sending.suppression.decisions.export import lines_of
from services.sending.suppression.decisions.heads import heads_of
from services.sending.suppression.decisions.linking import Linking, link
from services.sending.suppression.decisions.verification import verify
from services.sending.suppression.veto import decide
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_veto import suppression_of

READER, OTHER = "reader@example.com", "other@example.com"
# Nothing is linked while a transaction runs that began before it, and other tests have some of minutes at the same server.
PATIENCE_SECONDS = 120


def today() -> date:
    return datetime.now(UTC).date()


async def export(tenant: Tenant, day: date | None = None) -> list[bytes]:
    return [line async for line in lines_of(tenant.database, tenant.context, day or today())]


async def link_all(tenant: Tenant, day: date | None = None) -> int:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await link(session, day or today())


async def link_until(tenant: Tenant, length: int) -> None:
    """Link until the day's chain has so many: until nobody runs any more who began before them."""

    async def is_as_long() -> bool:
        await link_all(tenant)
        return verify(await export(tenant)).length == length

    await until(is_as_long, PATIENCE_SECONDS)


async def version(tenant: Tenant) -> int:
    rows = await tenant.rows("SELECT version FROM suppression_list_versions")
    return rows[0].version if rows else 0


async def claim_batch(tenant: Tenant, batch: UUID) -> None:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await claim(session, [batch], UUID(int=random.getrandbits(128)))


@pytest.fixture
async def chained(tenant: Tenant) -> list[bytes]:
    """The file of a day with eight decisions, one of them on a batch of which something was denied."""
    await tenant(suppression_of("p3@example.com"))
    for number in range(8):
        await tenant.launch(f"p{number}@example.com", f"q{number}@example.com")
    await tenant.approve()
    await link_until(tenant, 8)
    return await export(tenant)


async def test_each_message_that_is_let_go_or_not_is_written_down_by_both_gates(tenant: Tenant) -> None:
    await tenant(suppression_of(READER))
    await tenant.launch(READER, OTHER, "late@example.com")
    ids = {row.email: row.id for row in await tenant.rows("SELECT email, id FROM messages")}
    (batch,) = await tenant.approve()
    await tenant(suppression_of("late@example.com"))
    await claim_batch(tenant, batch)
    await link_until(tenant, 2)
    veto, claimed = [json.loads(line) for line in await export(tenant)]
    assert (veto["gate"], veto["list_version"], veto["batch_id"]) == ("veto", 1, str(batch))
    assert veto["denied"] == [[str(ids[READER]), "manual"]]
    assert veto["allowed"] == "".join(sorted(ids[email].hex for email in (OTHER, "late@example.com")))
    assert (claimed["gate"], claimed["list_version"]) == ("claim", 2)
    assert claimed["denied"] == [[str(ids["late@example.com"]), "manual"]]
    assert claimed["allowed"] == ids[OTHER].hex


async def test_every_change_of_the_list_makes_a_version_and_nothing_else_does(
    tenant: Tenant, settings: DeliverySettings
) -> None:
    digest = bytes(32)
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [Suppressed(digest, SuppressionReason.UNSUBSCRIBE)])
    assert await version(tenant) == 1
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [Suppressed(digest, SuppressionReason.UNSUBSCRIBE)])
    assert await version(tenant) == 1
    links = PreferenceLinks(settings.link_keys, settings.public_url)
    url = links.return_url(tenant.context.organization, digest, datetime.now(UTC) + timedelta(days=1))
    come_back = preferences_pb2.ChangePreferencesRequest(token=url.rpartition("/")[2], body=HttpBody())
    await tenant(come_back)
    assert await version(tenant) == 2
    entry = await tenant(
        suppressions_pb2.CreateSuppressionRequest(email=READER, reason=messages_pb2.SUPPRESSION_REASON_MANUAL)
    )
    await tenant(suppressions_pb2.DeleteSuppressionRequest(suppression_id=entry.id))
    assert await version(tenant) == 4


async def test_what_is_decided_again_is_not_written_down_again(tenant: Tenant) -> None:
    await tenant.launch(READER)
    for _ in range(2):
        await tenant.approve()
    assert len(await export(tenant)) == 1


async def test_batches_are_decided_on_while_others_have_not_committed_and_no_link_is_forgotten(
    tenant: Tenant,
) -> None:
    await tenant.launch("first@example.com")
    await tenant.approve()
    await link_until(tenant, 1)
    for number in range(2):
        await tenant.launch(f"p{number}@example.com")
    await tenant.release()
    slow, quick = await tenant.rows("SELECT id FROM batches WHERE status = 'requested' ORDER BY id")
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await decide(session, slow.id)
        async with tenant.database.tenant_transaction(tenant.context) as other:
            await decide(other, quick.id)
        # What has committed after somebody who is not done is not linked before them.
        assert await link_all(tenant) == 0
        assert verify(await export(tenant)).not_linked == 1
    await link_until(tenant, 3)
    lines = await export(tenant)
    assert [json.loads(line)["batch_id"] for line in lines[1:]] == [str(slow.id), str(quick.id)]
    assert not verify(lines).breaks


async def test_many_replicas_link_one_chain(tenant: Tenant) -> None:
    for number in range(12):
        await tenant.launch(f"p{number}@example.com")
    await tenant.approve()
    await asyncio.gather(*(link_until(tenant, 12) for _ in range(4)))
    verdict = verify(await export(tenant))
    assert (verdict.length, verdict.breaks) == (12, [])


async def test_chains_that_have_something_to_link_are_found(
    tenant: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    await tenant.launch(READER)
    await tenant.approve()
    linking = Linking(database, scheduler)

    async def is_linked() -> bool:
        await linking.round()
        return verify(await export(tenant)).length == 1

    await until(is_linked, PATIENCE_SECONDS)


def edited(lines: list[bytes], place: int) -> list[bytes]:
    """A message that was denied is said to have been let go, or the other way round."""
    content = json.loads(lines[place])
    if content["denied"]:
        content["allowed"] += content["denied"].pop()[0].replace("-", "")
    else:
        content["denied"] = [[str(UUID(content["allowed"][:32])), "unsubscribe"]]
    return [*lines[:place], json.dumps(content).encode(), *lines[place + 1 :]]


def rehashed(lines: list[bytes], place: int) -> list[bytes]:
    """The hash of another decision."""
    content = json.loads(lines[place]) | {"hash": json.loads(lines[place - 1])["hash"]}
    return [*lines[:place], json.dumps(content).encode(), *lines[place + 1 :]]


def of_another_list(lines: list[bytes], place: int) -> list[bytes]:
    content = json.loads(lines[place])
    content["list_version"] += 1
    return [*lines[:place], json.dumps(content).encode(), *lines[place + 1 :]]


def deleted(lines: list[bytes], place: int) -> list[bytes]:
    return lines[:place] + lines[place + 1 :]


def swapped(lines: list[bytes], place: int) -> list[bytes]:
    other = (place + 1) % len(lines)
    moved = list(lines)
    moved[place], moved[other] = moved[other], moved[place]
    return moved


def doubled(lines: list[bytes], place: int) -> list[bytes]:
    return lines[: place + 1] + lines[place:]


def unlinked(lines: list[bytes], place: int) -> list[bytes]:
    content = json.loads(lines[place]) | {"hash": None, "sequence": None, "previous_hash": None}
    return [*lines[:place], json.dumps(content).encode(), *lines[place + 1 :]]


def garbled(lines: list[bytes], place: int) -> list[bytes]:
    return [*lines[:place], b"[]\n", *lines[place + 1 :]]


@pytest.mark.parametrize(
    "tampered", [edited, rehashed, of_another_list, deleted, swapped, doubled, unlinked, garbled]
)
async def test_tampering_shows_wherever_it_is_done(
    chained: list[bytes], tampered: Callable[[list[bytes], int], list[bytes]]
) -> None:
    whole = verify(chained)
    assert (whole.breaks, whole.length) == ([], 8)
    for place in range(len(chained)):
        assert verify(tampered(chained, place), whole.head).breaks, place
    # All but the end shows without the head, too.
    for place in range(len(chained) - 1):
        assert verify(tampered(chained, place)).breaks, place


async def test_a_chain_that_was_written_anew_shows_against_the_published_head_and_only_there(
    chained: list[bytes], tenant: Tenant, stranger: Tenant
) -> None:
    head = verify(chained).head
    await stranger.launch(READER)
    await stranger.approve()
    await link_until(stranger, 1)
    forged = await export(stranger)
    assert not verify(forged).breaks
    assert verify(forged, head).breaks
    assert verify(chained + forged).breaks


async def test_the_command_verifies_a_file_with_nothing_but_the_file(
    chained: list[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "decisions"
    file.write_bytes(b"".join(chained))
    head = verify(chained).head.hex()
    answer = CliRunner(env={"DATABASE_URL": ""}).invoke(command.app, ["verify", str(file), "--head", head])
    assert (answer.exit_code, answer.output) == (0, f"the chain is whole: 8 decisions, head {head}\n")
    file.write_bytes(b"".join(deleted(chained, 4)))
    answer = CliRunner().invoke(command.app, ["verify", str(file)])
    assert answer.exit_code == 1
    assert "line 5: has sequence 6 in the place of 5" in answer.output
    assert CliRunner().invoke(command.app, ["verify", str(file), "--head", "beef"]).exit_code == 2


async def decided_on(tenant: Tenant, day: date) -> date:
    """A day that is over, of which something was decided and is linked."""
    await tenant.rows("INSERT INTO decision_chains (day) VALUES (:day)", day=day)
    await tenant.rows(
        "INSERT INTO decisions (day, gate, batch_id, list_version, allowed, denied, reasons)"
        " VALUES (:day, 'veto', uuidv7(), 0, '', '{}', '{}')",
        day=day,
    )

    async def is_linked() -> bool:
        return await link_all(tenant, day) == 1

    await until(is_linked, PATIENCE_SECONDS)
    return day


async def test_a_day_that_is_over_is_closed_and_its_head_published(
    tenant: Tenant, scheduler: RoleDatabase
) -> None:
    async def published(day: date) -> list[bytes]:
        heads = [head async for head in heads_of(scheduler, day)]
        return [head.head for head in heads if head.organization_id == tenant.context.organization]

    await tenant.launch(READER)
    await tenant.approve()
    await link_until(tenant, 1)
    assert not await published(today())
    day = await decided_on(tenant, today() - timedelta(days=2))
    (head,) = await published(day)
    assert not verify(await export(tenant, day), head).breaks


async def test_decisions_are_kept_as_long_as_the_plan_says_and_the_heads_of_their_chains_for_good(
    tenant: Tenant, database: Database, scheduler: RoleDatabase, allowances: IdentityPeer
) -> None:
    old, young = [await decided_on(tenant, today() - timedelta(days=days)) for days in (91, 89)]
    retention = EventRetention(database, scheduler, allowances)
    assert await retention.forget(tenant.context) == 2
    assert not await export(tenant, old)
    assert await tenant.rows("SELECT FROM decision_chains WHERE day = :day AND length = 1", day=old)
    assert verify(await export(tenant, young)).length == 1
