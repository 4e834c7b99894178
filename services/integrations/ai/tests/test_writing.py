"""Mails by a language model: good before anybody has them, told as they come, and paid for by the plan, however it ends."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from chassis.context import ActorKind
from chassis.database import Database
from chassis.errors import DomainError, PermissionDenied, Unavailable
from chassis.rpc.client import Peer
from chassis.tests.deadlines import until
from services.integrations.ai.tests.conftest import KEY
from services.integrations.ai.tests.model_server import Fails, HangsUp, ModelServer, Says, a_mail
from services.integrations.ai.tests.neighbours import Sending
from services.integrations.ai.tests.tenant import CYCLE, Tenant, held, spent
from services.integrations.ai.writing import Brief, cost_at_most

GOOD = Says(a_mail())
WRONG = Says(a_mail("<p>{{ wrong.name }}</p>"))
A_BRIEF = Brief("Tell of spring", "", "", "", "", 150, "")


async def test_a_brief_becomes_a_mail_whose_parts_were_looked_at(
    tenant: Tenant, model: ModelServer, checks: Sending
) -> None:
    model.does(Says(a_mail("<p>Hello</p>", One="first", Two="second"), tokens=321))
    mail = await tenant.write()
    assert [(line.subject, line.preheader) for line in mail.subject_lines] == [
        ("One", "first"),
        ("Two", "second"),
    ]
    assert (mail.html, mail.text, mail.tokens) == ("<p>Hello</p>", "as text", 321)
    ((asked, context),) = checks.asked
    assert (list(asked.subjects), list(asked.preheaders)) == (["One", "Two"], ["first", "second"])
    assert context.organization_id == tenant.context.organization_id


async def test_the_model_is_told_the_brief_and_asked_for_the_form(tenant: Tenant, model: ModelServer) -> None:
    model.does(GOOD)
    await tenant.write(
        "Sell bulbs", audience="gardeners", tone="dry", language="Dutch", brand_notes="No dogs", length=3
    )
    (asked,) = model.asked
    assert asked["model"] == "scripted"
    assert asked["response_format"]["json_schema"]["strict"] is True
    system, user = asked["messages"]
    assert "Liquid" in system["content"]
    for told in ("Sell bulbs", "gardeners", "dry", "Dutch", "No dogs", "350 words"):
        assert told in user["content"]
    assert model.credentials == [f"bearer {KEY}"]


async def test_a_draft_is_told_as_it_is_written(tenant: Tenant, model: ModelServer) -> None:
    goes_on = asyncio.Event()
    html = "<p>" + "Spring is here. " * 20 + "</p>"
    model.does(Says(a_mail(html), until=goes_on))
    told = ""
    async for event in tenant.events():
        if event.WhichOneof("event") == "draft":
            assert event.draft.attempt == 1
            told += event.draft.html
            if len(told) > 50:
                goes_on.set()
        else:
            assert event.mail.html == html
    assert told == html


@pytest.mark.parametrize(
    "first",
    [
        WRONG,
        Says("I cannot do that."),
        Says('{"subject_lines": [], "html": "<p>x</p>"}'),
        Says('{"subject_lines": [{"subject": 7}]}'),
        Says(a_mail()[:-20]),
        Says(a_mail("<p>x</p><script>steal()</script>")),
        Says(a_mail('<a href="java&#115;cript:steal()">x</a>')),
        Says(a_mail('<img src="https://example.com/a.png" onerror="steal()">')),
        Says(a_mail("<p>x</p>", **{"A\nbcc: all": "x"})),
        Says(""),
    ],
)
async def test_what_is_no_good_mail_is_written_once_more(
    tenant: Tenant, model: ModelServer, database: Database, first: Says
) -> None:
    model.does(first, Says(a_mail("<p>Better</p>"), tokens=23))
    mail = await tenant.write()
    assert mail.html == "<p>Better</p>"
    assert mail.tokens == 123 == await spent(tenant, database)
    assert "once more" in model.asked[1]["messages"][-1]["content"]


async def test_the_flaws_are_told_to_the_model(tenant: Tenant, model: ModelServer) -> None:
    model.does(WRONG, GOOD)
    await tenant.write()
    assert "'wrong' is not known" in model.asked[1]["messages"][-1]["content"]
    assert model.asked[1]["messages"][-2]["content"] == WRONG.text


async def test_what_is_no_good_mail_twice_is_not_given_to_anybody_and_counts(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    model.does(WRONG, WRONG)
    with pytest.raises(Unavailable, match="no mail that could be sent"):
        await tenant.write()
    assert await spent(tenant, database) == 200
    assert await held(tenant, database) == 0


async def test_a_fence_around_the_answer_is_no_flaw(tenant: Tenant, model: ModelServer) -> None:
    model.does(Says(f"```json\n{a_mail('<p>x</p>')}\n```"))
    assert (await tenant.write()).html == "<p>x</p>"


async def test_without_a_model_it_is_unavailable_and_says_why(without_a_model: Tenant) -> None:
    with pytest.raises(Unavailable, match="No AI provider is configured"):
        await without_a_model.write()


def test_its_client_is_not_loaded_where_there_is_no_model() -> None:
    looks = (
        "import sys, services.integrations.server as server; from services.integrations.ai.settings import AiSettings; "
        "server.language_model(AiSettings()); sys.exit('openai' in sys.modules)"
    )
    assert subprocess.run((sys.executable, "-c", looks), check=False).returncode == 0


async def test_below_the_plan_nothing_is_asked(tenant: Tenant, model: ModelServer) -> None:
    tenant.context = replace(tenant.context, features=frozenset())
    with pytest.raises(PermissionDenied) as refused:
        await tenant.write()
    assert refused.value.reason == "PLAN_UPGRADE_REQUIRED"
    assert model.asked == []


async def test_a_key_needs_the_scope(tenant: Tenant, model: ModelServer) -> None:
    model.does(GOOD)
    tenant.context = replace(
        tenant.context, actor_kind=ActorKind.API_KEY, session_id="", scopes=frozenset(("ai:read",))
    )
    with pytest.raises(PermissionDenied) as refused:
        await tenant.write()
    assert refused.value.reason == "INSUFFICIENT_SCOPE"
    tenant.context = replace(tenant.context, scopes=frozenset(("ai:write",)))
    await tenant.write()


@pytest.mark.parametrize("trouble", [Fails(500), Fails(429), HangsUp()])
async def test_trouble_that_passes_is_tried_again(
    tenant: Tenant, model: ModelServer, database: Database, trouble: Fails | HangsUp
) -> None:
    model.does(trouble, trouble, GOOD)
    assert (await tenant.write()).tokens == 100
    assert len(model.asked) == 3


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (Fails(503), "does not answer"),
        (Fails(429), "takes no more"),
        (Fails(401), "refuses"),
        (Fails(404), "refuses"),
        (Fails(400, "your prompt was: Tell of spring"), "refuses"),
        (HangsUp(), "does not answer"),
        (Says("x" * 200, breaks_off=True), "does not answer"),
        (Says("x" * 120_000), "does not come to an end"),
    ],
)
async def test_trouble_that_stays_is_unavailable_and_quotes_nothing(
    tenant: Tenant, model: ModelServer, database: Database, trouble: Fails | HangsUp | Says, told: str
) -> None:
    model.does(*[trouble] * 3)
    with pytest.raises(Unavailable, match=told) as failed:
        await tenant.write()
    assert "spring" not in failed.value.message
    assert await held(tenant, database) == 0


async def test_an_answer_that_breaks_off_is_counted_by_its_bytes(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    model.does(Says("x" * 6_000, breaks_off=True))
    with pytest.raises(Unavailable):
        await tenant.write()
    asked = sum(len(message["content"].encode()) for message in model.asked[0]["messages"])
    assert await spent(tenant, database) == pytest.approx((asked + 3_000) // 3, abs=5)


async def test_an_api_that_does_not_tell_the_cost_is_counted_by_bytes(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    model.does(Says(a_mail(), tokens=None))
    mail = await tenant.write()
    asked = sum(len(message["content"].encode()) for message in model.asked[0]["messages"])
    assert mail.tokens == (asked + len(a_mail())) // 3 == await spent(tenant, database)


async def test_who_leaves_ends_the_asking_and_pays_for_what_was_said(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    model.does(Says(a_mail("<p>" + "word " * 100), until=asyncio.Event()))
    events = tenant.events()
    await anext(events)
    await events.aclose()
    await until(lambda: model.left == 1)

    async def is_counted() -> bool:
        return await spent(tenant, database) > 0 and await held(tenant, database) == 0

    await until(is_counted)


async def test_of_many_at_once_no_more_are_asked_than_the_plan_has_tokens_for(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    most = cost_at_most(A_BRIEF)
    tenant.on_a_plan_of(3 * most)
    goes_on = asyncio.Event()
    model.mind = lambda _: Says(a_mail(), tokens=most, until=goes_on)
    asked = [asyncio.create_task(tenant.write()) for _ in range(16)]
    await until(lambda: sum(task.done() for task in asked) == 13)
    goes_on.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, DomainError)]
    assert {error.reason for error in refused} == {"PLAN_LIMIT_EXCEEDED"}
    assert len(refused) == 13
    assert await spent(tenant, database) == 3 * most
    with pytest.raises(PermissionDenied, match="0 are left"):
        await tenant.write()


async def test_the_next_cycle_begins_anew(tenant: Tenant, model: ModelServer, database: Database) -> None:
    tenant.on_a_plan_of(cost_at_most(A_BRIEF))
    model.does(GOOD, GOOD)
    await tenant.write()
    with pytest.raises(PermissionDenied):
        await tenant.write()
    tenant.context = replace(tenant.context, cycle_started_at=CYCLE + timedelta(days=30))
    await tenant.write()


async def test_what_a_dead_process_set_aside_is_free_after_a_while(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    most = cost_at_most(A_BRIEF)
    tenant.on_a_plan_of(most)
    model.does(GOOD)
    left_behind = (
        "INSERT INTO ai_tokens_set_aside (id, cycle_started_at, tokens, free_at)"
        f" VALUES (gen_random_uuid(), '{CYCLE.isoformat()}', {most}, now() + interval '1 hour')"
    )
    async with database.tenant_transaction(tenant.context) as session:
        await session.execute(text(left_behind))
    with pytest.raises(PermissionDenied):
        await tenant.write()
    async with database.tenant_transaction(tenant.context) as session:
        await session.execute(text("UPDATE ai_tokens_set_aside SET free_at = now()"))
    await tenant.write()


async def test_without_a_limit_in_its_context_nothing_is_asked(tenant: Tenant, model: ModelServer) -> None:
    tenant.context = replace(tenant.context, limits=())
    with pytest.raises(Unavailable):
        await tenant.write()
    assert model.asked == []


async def test_identity_is_told_what_counts_in_the_cycle(
    tenant: Tenant, model: ModelServer, peer_of: Callable[[str], Peer]
) -> None:
    stranger = tenant.of_another_organization()
    model.does(GOOD, Says(a_mail(), tokens=7))
    await tenant.write()
    await stranger.write()
    async with peer_of("identity") as identity:
        assert (await tenant.counted(identity), await stranger.counted(identity)) == (100, 7)


@pytest.mark.parametrize(
    "trouble", [GOOD, Fails(400, "you said: PRIMROSE"), Says("x PRIMROSE", breaks_off=True)]
)
async def test_nothing_of_what_is_asked_or_answered_is_logged(
    tenant: Tenant,
    model: ModelServer,
    trouble: Fails | Says,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    model.does(*[trouble] * 3)
    (outcome,) = await asyncio.gather(
        tenant.write("PRIMROSE", brand_notes="PRIMROSE"), return_exceptions=True
    )
    assert "PRIMROSE" in str(model.asked)
    assert "PRIMROSE" not in str(outcome)
    told = capsys.readouterr()
    assert "PRIMROSE" not in caplog.text + told.out + told.err
    assert KEY not in caplog.text + told.out + told.err
