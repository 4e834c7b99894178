"""Questions to a language model that may do anything: each comes to an end, is paid for exactly, and leaves nothing behind."""

import asyncio
import json
import logging
import re
from uuid import uuid4

import openai
import pytest

from chassis.database import Database
from chassis.errors import DomainError, PermissionDenied, Unavailable
from chassis.tests.deadlines import until
from services.integrations.ai import chat_completions
from services.integrations.ai.answers import inert
from services.integrations.ai.tests.conftest import KEY
from services.integrations.ai.tests.model_server import (
    Asks,
    Fails,
    HangsUp,
    ModelServer,
    Raw,
    Says,
    Turn,
    all_that_was_given,
)
from services.integrations.ai.tests.tenant import Tenant, held, spent

A_CAMPAIGN = {
    "name": "Spring",
    "subject": "Spring",
    "from_email": "news@green-grocer.test",
    "html": "<p>x</p>",
    "audience": {"list_ids": [str(uuid4())]},
}


async def most_of(tenant: Tenant) -> int:
    """How many tokens the first turn of a question may take."""
    context = tenant.context
    tenant.on_a_plan_of(0)
    with pytest.raises(PermissionDenied) as refused:
        await tenant.ask()
    tenant.context = context
    told = re.search(r"may take ([\d,]+)\.", refused.value.message)
    assert told is not None
    return int(told[1].replace(",", ""))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("list_contacts", "{"), "must be JSON"),
        (("list_contacts", "Show me all, please"), "must be JSON"),
        (("list_contacts", '{"search": NaN}'), "must be JSON"),
        (("list_contacts", '{"search": "\\ud800"}'), "must be JSON"),
        (("list_contacts", "[" * 100_000), "at most 60,000 characters"),
        (("list_contacts", "[" * 50_000), "must be JSON"),
        (("list_contacts", "[]"), "must be an object"),
        (("list_contacts", "null"), "must be an object"),
        (("preview_segment", '{"rule":' * 45 + "1" + "}" * 45), "not nested too deeply"),
        (("list_contacts", {"organization_id": "x"}), "organization_id"),
        (("list_contacts", {"search": "x" * 50_000}), "search"),
        (("get_template", {"template_id": "1"}), "template_id"),
        (("get_template", {}), "template_id"),
        (("delete_contact", {}), "There is no such tool."),
        (("", {}), "There is no such tool."),
        (("_read", {}), "There is no such tool."),
        (("prepare_", {}), "There is no such tool."),
        (("prepare_import", {}), "There is no such tool."),
    ],
    ids=lambda each: f"{each[0]} {str(each[1])[:20]}" if isinstance(each, tuple) else "",
)
async def test_what_is_no_use_of_a_tool_is_told_to_the_model_and_it_goes_on(
    tenant: Tenant, model: ModelServer, call: tuple[str, str], told: str
) -> None:
    model.does(Asks(call), Says("I could not."))
    answer = await tenant.ask()
    assert answer.text == "I could not."
    given = json.loads(all_that_was_given(model.asked[-1]))
    assert told in json.dumps(given)
    assert "data" not in given


@pytest.mark.parametrize("trouble", [Fails(500), Fails(429), HangsUp()])
async def test_trouble_that_passes_is_tried_again(
    tenant: Tenant, model: ModelServer, database: Database, trouble: Turn
) -> None:
    model.does(trouble, trouble, Says("Well."))
    assert (await tenant.ask()).tokens == 100
    assert len(model.asked) == 3
    assert await spent(tenant, database) == 100


@pytest.mark.parametrize(
    "trouble",
    [
        Fails(503),
        Fails(401),
        Fails(400, "your question was: PRIMROSE"),
        HangsUp(),
        Raw("<html>Down for maintenance</html>"),
        Raw("{}"),
        Raw("[]"),
        Raw("null"),
        Raw('{"choices": []}'),
        Raw('{"choices": [{"message": null}]}'),
        Raw('{"choices": [{"message": {"tool_calls": [{"type": "function"}]}}]}'),
        Says(""),
        Says(" \n"),
    ],
    ids=str,
)
async def test_an_answer_that_is_none_is_unavailable_quotes_nothing_and_holds_nothing(
    tenant: Tenant, model: ModelServer, database: Database, trouble: Turn
) -> None:
    model.does(*[trouble] * 3)
    with pytest.raises(Unavailable) as failed:
        await tenant.ask("PRIMROSE")
    assert "PRIMROSE" not in failed.value.message
    assert await held(tenant, database) == 0
    # What was answered was paid for, though it was of no use.
    assert await spent(tenant, database) == (100 if isinstance(trouble, Says) else 0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for a model for a moment only, and otherwise as it does."""
    monkeypatch.setattr(chat_completions, "_TIMEOUT", openai.Timeout(5, read=0.05))


@pytest.mark.usefixtures("hasty")
async def test_a_provider_that_is_silent_is_given_up_on(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    model.mind = lambda _: Says("Never", until=asyncio.Event())
    with pytest.raises(Unavailable, match="does not answer"):
        await tenant.ask()
    assert len(model.asked) == 3
    await until(lambda: model.left == 3)
    assert await held(tenant, database) == 0


async def test_who_leaves_ends_the_asking_and_has_the_tokens_back(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    model.does(Asks(("prepare_campaign", A_CAMPAIGN)), Says("Never", until=asyncio.Event()))
    steps = tenant.steps()
    assert list((await anext(steps)).step.tools) == ["prepare_campaign"]
    await until(lambda: len(model.asked) == 2)
    assert await held(tenant, database) == 1
    await steps.aclose()
    await until(lambda: model.left == 1)

    async def is_free() -> bool:
        return await held(tenant, database) == 0

    await until(is_free)
    assert await spent(tenant, database) == 100


async def test_of_many_at_once_exactly_as_many_are_asked_as_the_plan_has_tokens_for(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    most = await most_of(tenant)
    tenant.on_a_plan_of(3 * most)
    goes_on = asyncio.Event()
    model.mind = lambda _: Says("Well.", tokens=most, until=goes_on)
    asked = [asyncio.create_task(tenant.ask()) for _ in range(16)]
    await until(lambda: sum(task.done() for task in asked) == 13)
    assert await held(tenant, database) == 3
    goes_on.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, DomainError)]
    assert [error.reason for error in refused] == ["PLAN_LIMIT_EXCEEDED"] * 13
    assert len(model.asked) == 3
    assert (await spent(tenant, database), await held(tenant, database)) == (3 * most, 0)


async def test_one_token_less_than_a_turn_may_take_is_too_few(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    most = await most_of(tenant)
    tenant.on_a_plan_of(most - 1)
    with pytest.raises(PermissionDenied, match="are left"):
        await tenant.ask()
    assert model.asked == []
    tenant.on_a_plan_of(most)
    model.does(Says("Well.", tokens=1))
    await tenant.ask()
    with pytest.raises(PermissionDenied, match=f"{most - 1:,} are left"):
        await tenant.ask()


async def test_a_question_that_runs_out_of_tokens_is_stopped_and_paid_for_so_far(
    tenant: Tenant, model: ModelServer, database: Database
) -> None:
    tenant.on_a_plan_of(await most_of(tenant) + 50)
    model.mind = lambda _: Asks(("prepare_campaign", A_CAMPAIGN))
    with pytest.raises(PermissionDenied) as refused:
        await tenant.ask()
    assert refused.value.reason == "PLAN_LIMIT_EXCEEDED"
    assert (await spent(tenant, database), await held(tenant, database)) == (100, 0)
    assert len(model.asked) == 1


async def test_a_model_has_no_more_done_than_a_question_may_take(tenant: Tenant, model: ModelServer) -> None:
    greedy = Asks(*[("prepare_campaign", A_CAMPAIGN)] * 50)
    model.mind = lambda request: greedy if "tools" in request else Says("x" * 100_000)
    answer = await tenant.ask()
    assert len(model.asked) == 7
    assert list(answer.tools) == ["prepare_campaign"] * 6 * 8
    assert len(answer.proposals) == 10
    assert len(answer.text) == 20_000


@pytest.mark.parametrize(
    "turn",
    [
        Says("PRIMROSE"),
        Asks(("PRIMROSE", {"PRIMROSE": "PRIMROSE"})),
        Asks(("list_contacts", "PRIMROSE")),
        Fails(400, "you said: PRIMROSE"),
        Raw("PRIMROSE"),
    ],
    ids=["an answer", "a tool", "what a tool is asked", "a refusal", "nonsense"],
)
async def test_nothing_of_what_is_asked_or_answered_is_logged(
    tenant: Tenant,
    model: ModelServer,
    turn: Turn,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    model.mind = lambda request: turn if "tools" in request else Says("PRIMROSE")
    await asyncio.gather(tenant.ask("PRIMROSE"), return_exceptions=True)
    assert "PRIMROSE" in str(model.asked)
    told = capsys.readouterr()
    assert "PRIMROSE" not in caplog.text + told.out + told.err
    assert KEY not in caplog.text + told.out + told.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Two lists: [a] and (b).", "Two lists: [a] and (b)."),
        ("![x](https://thief.test)", "![x] (https://thief.test)"),
        ("[x][1]\n[1]: https://thief.test", "[x] [1]\n[1] : https://thief.test"),
        ("a < b, 1<2, <p>", "a < b, 1<2, < p>"),
        ("<!-- x --></p><?x", "< !-- x -->< /p>< ?x"),
    ],
)
def test_an_answer_reads_the_same_and_is_no_markup(text: str, shown: str) -> None:
    assert inert(text) == shown
    assert inert(shown) == shown
