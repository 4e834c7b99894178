"""How fast contacts are found and read: a segment's preview, an audience by stream, and what the policies cost."""

import time
from datetime import UTC, datetime
from statistics import median

import psycopg
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql

from bench.contacts.stage import Stage
from chassis.database import Database
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from flownurture.contacts.v1 import audience_pb2 as pb
from flownurture.contacts.v1.audience_pb2_grpc import AudienceServiceStub
from services.contacts.rule_sql import condition
from services.contacts.rules import kept_rule
from services.contacts.segments import preview
from services.contacts.tables import contacts

RULE = {
    "all": [
        {"field": {"name": "status", "operator": "equals", "value": "subscribed"}},
        {"field": {"name": "created_at", "operator": "in_last_days", "value": 200}},
        {"field": {"name": "last_name", "operator": "contains", "value": "7"}},
        {"engagement": {"event": "opened", "within_days": 60}},
    ]
}
# As the policies have it.
_CURRENT = "(SELECT nullif(current_setting('app.organization_id', true), '')::uuid)"
_ROUNDS = 7


async def previewed(stage: Stage) -> float:
    """Seconds of a warm preview: three conditions and one of engagement, over everybody."""
    taken = []
    async with Database(Secret(stage.environment["DATABASE_URL"]), schema="contacts") as database:
        for _ in range(_ROUNDS + 1):
            began = time.perf_counter()
            async with database.tenant_transaction(stage.context, read_only=True) as session:
                count, sample = await preview(session, RULE, 10)
            taken.append(time.perf_counter() - began)
    if not count or len(sample) != 10:
        raise SystemExit("the rule fits too few")
    return median(taken[1:])


async def streamed(stage: Stage, size: int = 5_000) -> float:
    """Contacts/s of an audience by stream, as the sending process reads it."""
    stamper = Stamper("sending", Secret(stage.sending_key))
    best = 0.0
    async with Peer(stage.environment["LISTEN"], "contacts", stamper) as peer:
        await peer.channel.channel_ready()
        request = pb.StreamRecipientsRequest(
            include=pb.Selection(list_ids=[str(stage.list_id)]), batch_size=size
        )
        for _ in range(3):
            began, read = time.perf_counter(), 0
            method = AudienceServiceStub(peer.channel).StreamRecipients
            async for batch in peer.stream(method, request, stage.context, 600):
                read += len(batch.emails)
            best = max(best, read / (time.perf_counter() - began))
    return best


def cost_of_policies(stage: Stage) -> dict[str, float]:
    """How many times as long queries take with the policies as without them, their condition written by hand; in turns."""
    organization = str(stage.context.organization)
    fits = condition(kept_rule(RULE, {}), datetime.now(UTC))
    count = _text(select(func.count()).select_from(contacts).where(fits))
    page = _text(
        select(contacts.c.id, contacts.c.email, contacts.c.email_digest)
        .where(contacts.c.id > stage.context.organization)
        .order_by(contacts.c.id)
        .limit(200_000)
    )
    ratios = {}
    with (
        psycopg.connect(stage.environment["DATABASE_URL"], autocommit=True) as bound,
        psycopg.connect(stage.admin_url, autocommit=True) as free,
    ):
        for connection in (bound, free):
            connection.execute("SET search_path TO contacts")
            connection.execute("SET work_mem TO '96MB'")
            connection.execute("SELECT set_config('app.organization_id', %s, false)", [organization])
        for name, query in (("segment", count), ("page", page)):
            named = query.replace("WHERE ", f"WHERE contacts.organization_id = {_CURRENT} AND ", 1)
            ratios[name] = _in_turns((bound, query), (free, named))
    return ratios


def _in_turns(*contenders: tuple[psycopg.Connection, str]) -> float:
    """How many times as long the first takes as the second."""
    ratios = []
    for _ in range(_ROUNDS + 1):
        taken = []
        for connection, query in contenders:
            began = time.perf_counter()
            connection.execute(query).fetchall()
            taken.append(time.perf_counter() - began)
        ratios.append(taken[0] / taken[1])
    return median(ratios[1:])


def _text(statement: object) -> str:
    compiled = statement.compile(  # type: ignore[attr-defined]
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    return str(compiled).replace("%%", "%")
