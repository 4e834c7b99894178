"""No secret is written anywhere: the platform lives through the use of all of them, and all that it wrote is searched for each.

The house is one of this test's own. It says all that it can: its log level is DEBUG, and its traces go to a collector here.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chassis.context import RequestContext
from chassis.secret import Secret
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen
from deploy.demo.waiting import until
from services.integrations.tests.local_crm import LocalCrm, local_crms
from tests.integration import what_was_written
from tests.integration.conftest import opened_house
from tests.integration.house import House
from tests.integration.ledger import Ledger, Written
from tests.integration.secret_search import Search
from tests.integration.secret_story import KINDS, Story, echoing

_EXPORTED_WITHIN_SECONDS = 20


@pytest.fixture(scope="module")
def traces() -> Iterator[tuple[str, list[bytes]]]:
    with what_was_written.collecting_traces() as collecting:
        yield collecting


@pytest.fixture(scope="module")
async def crms() -> AsyncIterator[dict[str, LocalCrm]]:
    async with local_crms() as crms:
        yield crms


@pytest.fixture(scope="module")
def house(traces: tuple[str, list[bytes]], crms: dict[str, LocalCrm]) -> Iterator[House]:
    set_up = json.dumps({name: crm.settings() for name, crm in crms.items()})
    with opened_house(OTLP_ENDPOINT=traces[0], LOG_LEVEL="DEBUG", CRMS=set_up) as house:
        yield house


@pytest.fixture(scope="module")
async def story(
    house: House, traces: tuple[str, list[bytes]], crms: dict[str, LocalCrm]
) -> AsyncIterator[Story]:
    ledger = Ledger()
    async with (
        httpx.AsyncClient(
            base_url=house.gateway_url, timeout=30, event_hooks={"response": [ledger.note]}
        ) as http,
        httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mailbox,
        echoing() as receiver,
        what_was_written.listening(house) as heard,
    ):
        story = Story(house, http, mailbox, receiver, ledger, crms, heard)
        await story.live()
        yield story


@pytest.fixture(scope="module")
async def written(story: Story, house: House, traces: tuple[str, list[bytes]]) -> dict[str, list[Written]]:
    """All that was written, by the kind of place; after the last call has left its span."""
    exported = traces[1]

    async def last_call() -> bool:
        return any(b"/v1/auth/logout" in spans for spans in exported)

    assert await until(last_call, bool, seconds=_EXPORTED_WITHIN_SECONDS)
    return {
        "logs": what_was_written.logs(house),
        "command lines": what_was_written.command_lines(house),
        "traces": [Written("trace", spans) for spans in exported],
        "metrics": await what_was_written.metrics(house),
        "answers and problem documents": story.ledger.answers,
        "database": what_was_written.dump(house),
        "database files": [file async for file in what_was_written.database_files(house)],
        "bus, as it went": list(story.heard),
        "bus": [message async for message in what_was_written.bus(house)],
        "Redis": await what_was_written.redis(house),
        "other files": what_was_written.other_files(house),
        "mail": await what_was_written.mail(house),
        "webhook posts": [Written("webhook post", post) for post in story.receiver.posts],
    }


# What is no secret and has been told there: by it is known that the place was written to, and is looked at.
TOLD = {
    "logs": {"a trace", "a failed request"},
    "command lines": {"a program"},
    "traces": {"a trace", "a route"},
    "metrics": {"a route"},
    "answers and problem documents": {"the organization", "a first name", "a problem"},
    "database": {"the organization", "a first name"},
    "database files": {"the organization", "a first name"},
    "bus, as it went": {"the organization", "a first name", "an order"},
    "bus": {"the organization", "a first name"},
    "Redis": {"the organization"},
    "other files": {"a process"},
    "mail": {"a sender"},
    "webhook posts": {"the organization", "a first name"},
}


@pytest.mark.parametrize("place", TOLD)
async def test_no_secret_is_in(place: str, written: dict[str, list[Written]], story: Story) -> None:
    print(
        f"{sum(len(each.content) for each in written[place]):,} bytes of {place} in {len(written[place]):,} pieces, "
        f"searched for {len(story.ledger.secrets)} secrets"
    )
    assert story.ledger.leaks(written[place]) == []


@pytest.mark.parametrize("place", TOLD)
async def test_what_was_told_is_found_by_the_same_search_in(
    place: str, written: dict[str, list[Written]], story: Story
) -> None:
    search = Search(
        {
            "the organization": story.organization_id.encode(),
            "a first name": story.first_name.encode(),
            "a trace": bytes.fromhex(story.trace_id),
            "a failed request": story.failed_request_id.encode(),
            "a process": b"suppression",
            "an order": b"flownurture.identity.work.send_account_mail",
            "a route": b"/v1/organization/subscription",
            "a problem": b"https://flownurture.dev/problems/unauthenticated",
            "a program": b"services.webhooks",
            "a sender": b"hello@accounts.flownurture.test",
        }
    )
    assert set().union(*(search.found(each.content) for each in written[place])) >= TOLD[place]


def test_there_is_something_of_every_kind_to_look_for(story: Story) -> None:
    known = {name: [secret for secret in story.ledger.secrets if secret.startswith(name)] for name in KINDS}
    print({name: len(secrets) for name, secrets in known.items()})
    assert all(known.values())
    assert sum(map(len, known.values())) == len(story.ledger.secrets) > 80


async def test_a_secret_is_told_by_the_one_answer_that_shows_it(story: Story) -> None:
    search = Search(story.ledger.secrets)
    told = [search.found(answer.content) for answer in story.ledger.answers]
    shown = set().union(*told)
    for kind in (
        "sessions: access token",
        "sessions: refresh token",
        "second factors: seed",
        "API keys: the first",
    ):
        assert [name for name in shown if name.startswith(kind)]
    assert sum("API keys: the first" in each for each in told) == 1


@pytest.mark.parametrize("schema", ["identity", "sending", "webhooks"])
async def test_with_the_database_and_all_else_that_the_house_knows_no_data_key_opens_without_the_one_that_wraps(
    story: Story, house: House, schema: str
) -> None:
    wrapping = house.secrets.key_encryption_keys[schema]
    others = _keys_of(asdict(house.secrets)) - {wrapping}
    assert len(others) > 10
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        query = SQL("SELECT DISTINCT organization_id FROM {}.data_keys").format(Identifier(schema))
        organizations = [row[0] for row in await (await connection.execute(query)).fetchall()]
    assert organizations
    async with story.vault(schema) as (database, vault):
        for organization in organizations:
            context = RequestContext.of_process("thief", organization)
            async with database.tenant_transaction(context, read_only=True) as session:
                await vault.keyring(session)
                for other in others:
                    with pytest.raises(DoesNotOpen):
                        await Vault(schema, FileWrapping({"local-1": Secret(other)})).keyring(session)


def _keys_of(secrets: Mapping[str, Any]) -> set[str]:
    """Whatever has the form of a key."""
    found: set[str] = set()
    for value in secrets.values():
        if isinstance(value, dict):
            found |= _keys_of(value)
        elif len(value) == 44 and value.endswith("="):
            found.add(value)
    return found
