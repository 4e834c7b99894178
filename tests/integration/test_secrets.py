"""No secret is written anywhere: the platform lives through the use of all of them, and all that it wrote is searched for each.

The house is one of this test's own. It says all that it can: its log level is DEBUG, and its traces go to a collector here.
"""

import json
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.keyring import FORMAT, KEY_ID, DataKey, Keyring
from chassis.vault.wrapping import DoesNotOpen
from deploy.demo.waiting import until
from services.integrations.ai.tests.model_server import ModelServer, serving
from services.integrations.tests.local_crm import LocalCrm, local_crms
from tests.integration import what_was_written
from tests.integration.conftest import opened_house
from tests.integration.house import House
from tests.integration.ledger import Ledger, Written
from tests.integration.sealed_envelopes import (
    ENVELOPES,
    EnvelopePlace,
    TakenForDataKey,
    stored_envelopes,
)
from tests.integration.sealed_values import LISTED, Place, stored_keys, stored_values, wrapping_of
from tests.integration.secret_search import Search
from tests.integration.secret_story import AI_KEY, KINDS, Story, echoing
from tests.integration.traces import Spans

RecordProperty = Callable[[str, object], None]
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
async def model() -> AsyncIterator[ModelServer]:
    async with serving() as model:
        yield model


@pytest.fixture(scope="module")
def house(traces: tuple[str, list[bytes]], crms: dict[str, LocalCrm], model: ModelServer) -> Iterator[House]:
    set_up = json.dumps({name: crm.settings() for name, crm in crms.items()})
    asks = {"AI_BASE_URL": model.url, "AI_API_KEY": AI_KEY, "AI_MODEL": "scripted"}
    with opened_house(OTLP_ENDPOINT=traces[0], LOG_LEVEL="DEBUG", CRMS=set_up, **asks) as house:
        yield house


@pytest.fixture(scope="module")
async def story(
    house: House, traces: tuple[str, list[bytes]], crms: dict[str, LocalCrm], model: ModelServer
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
        story = Story(house, http, mailbox, receiver, ledger, crms, model, heard)
        await story.live()
        yield story


@pytest.fixture(scope="module")
async def written(story: Story, house: House, traces: tuple[str, list[bytes]]) -> dict[str, list[Written]]:
    """All that was written, by the kind of place; after the last call has left its span."""
    exported = traces[1]

    async def last_call() -> bool:
        return any(b"/v1/auth/logout" in spans for spans in exported)

    assert await until(last_call, bool, seconds=_EXPORTED_WITHIN_SECONDS)
    # Before the logs, which it gets into.
    export = await what_was_written.export(house, story.organization_id)
    return {
        "export": export,
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
    "export": {"the organization", "a first name", "a table"},
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
            "a table": b'"table":"dkim_keys"',
            "a sender": b"hello@accounts.flownurture.test",
        }
    )
    assert set().union(*(search.found(each.content) for each in written[place])) >= TOLD[place]


async def test_a_message_can_be_followed_from_its_call_to_the_answer_of_the_relay(
    story: Story, traces: tuple[str, list[bytes]]
) -> None:
    async def told() -> list[tuple[str, str]]:
        return Spans.of(story.letter_trace_id, traces[1]).way_to("SMTP")

    assert await until(told, lambda way: len(way) == 5, seconds=_EXPORTED_WITHIN_SECONDS) == [
        ("gateway", "POST /v1/messages"),
        ("sending", "/flownurture.sending.v1.MessageService/CreateMessage"),
        ("suppression", "flownurture.sending.v1.MessagesRequested"),
        ("delivery", "flownurture.suppression.v1.MessagesApproved"),
        ("delivery", "SMTP"),
    ]


async def test_no_trace_tells_of_a_person(written: dict[str, list[Written]], story: Story) -> None:
    told = [
        b"@example.test",
        b"@grocer.test",
        b"Plums",
        story.first_name.encode(),
        story.organization_id.encode(),
    ]
    found = [word for word in told if any(word in each.content for each in written["traces"])]
    assert found == [story.organization_id.encode()]


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


@pytest.fixture(scope="module")
async def sealed(story: Story, house: House) -> dict[Place, bytes]:
    """All that data keys have sealed, by its place."""
    values: dict[Place, bytes] = {}
    for schema, columns in LISTED.items():
        for column in columns:
            found = await stored_values(house, schema, column)
            assert found, f"nothing stands in {schema}.{column.table.name}.{column.column}"
            values |= found
    return values


@pytest.fixture(scope="module")
async def data_keys(story: Story, house: House) -> dict[tuple[str, UUID], list[DataKey]]:
    """The data keys, open, by schema and organization."""
    keys: dict[tuple[str, UUID], list[DataKey]] = defaultdict(list)
    for schema in LISTED:
        for key in await stored_keys(house, schema):
            plain = await key.unwrapped(wrapping_of(house, schema))
            keys[schema, key.organization].append(DataKey(key.id, key.version, AESGCM(plain)))
    return keys


@pytest.mark.parametrize("schema", LISTED)
async def test_with_the_database_and_all_else_that_the_house_knows_nothing_opens_without_the_key_that_wraps(
    house: House,
    sealed: dict[Place, bytes],
    data_keys: dict[tuple[str, UUID], list[DataKey]],
    schema: str,
    record_property: RecordProperty,
) -> None:
    others = _keys_of(asdict(house.secrets)) - {house.secrets.key_encryption_keys[schema]}
    assert len(others) > 10
    stored = await stored_keys(house, schema)
    assert stored
    for key in stored:
        for other in others:
            with pytest.raises(DoesNotOpen):
                await key.unwrapped(FileWrapping({key.wrapped.key: Secret(other)}))
    values = {place: value for place, value in sealed.items() if place.schema == schema}
    for place, value in values.items():
        keys = data_keys[schema, place.organization]
        assert opens(value, place, keys)
        for other in others:
            cipher = AESGCM(b64decode(other))
            assert not opens(value, place, [replace(key, cipher=cipher) for key in keys])
    record_property(
        "figure",
        f"{schema}: {len(stored)} data keys and {len(values)} sealed values tried with {len(others)} other keys",
    )


@pytest.fixture(scope="module")
async def envelopes(story: Story, house: House) -> dict[tuple[EnvelopePlace, UUID], bytes]:
    """All that stands in envelopes, by column and row."""
    values: dict[tuple[EnvelopePlace, UUID], bytes] = {}
    for column in ENVELOPES:
        found = await stored_envelopes(house, column)
        assert len(found) > 1, f"too little stands in {column}"
        values |= {(column, row): sealed for row, sealed in found.items()}
    return values


@pytest.mark.parametrize("column", ENVELOPES, ids=str)
async def test_with_the_database_and_all_else_that_the_house_knows_no_envelope_opens_without_the_key_that_wraps(
    house: House,
    envelopes: dict[tuple[EnvelopePlace, UUID], bytes],
    column: EnvelopePlace,
    record_property: RecordProperty,
) -> None:
    others = _keys_of(asdict(house.secrets)) - {column.key(house.secrets)}
    assert len(others) > 10
    values = {row: sealed for (of, row), sealed in envelopes.items() if of is column}
    for row, sealed in values.items():
        assert await column.opens(sealed, row, column.wrapping(house.secrets))
        for other in others:
            key = {"local-1": Secret(other)}
            former = Sealer(column.schema, key)
            for wrapping in (FileWrapping(key), TakenForDataKey(other)):
                assert not await column.opens(sealed, row, wrapping, former)
    record_property("figure", f"{column}: {len(values)} envelopes tried with {len(others)} other keys")


async def test_an_envelope_that_is_moved_to_any_other_row_or_column_opens_with_no_key_of_the_house(
    house: House, envelopes: dict[tuple[EnvelopePlace, UUID], bytes], record_property: RecordProperty
) -> None:
    places = (*envelopes, *((column, uuid4()) for column in ENVELOPES))
    wrappings = [column.wrapping(house.secrets) for column in ENVELOPES]
    moves = Counter(
        [
            await column.opens(sealed, row, wrapping)
            for sealed in envelopes.values()
            for column, row in places
            for wrapping in wrappings
        ]
    )
    # Each in its own place by its own key, and nothing else.
    assert moves[True] == len(envelopes)
    record_property("figure", f"{len(envelopes)} envelopes and {moves[False]} moves and false keys")


def test_what_is_moved_to_any_other_place_or_key_version_opens_with_no_data_key_of_the_house(
    sealed: dict[Place, bytes],
    data_keys: dict[tuple[str, UUID], list[DataKey]],
    record_property: RecordProperty,
) -> None:
    every_key = [key for keys in data_keys.values() for key in keys]
    strangers = [replace(place, organization=uuid4()) for place in sealed]
    moves = Counter(
        opens(value, place, every_key) for value in sealed.values() for place in (*sealed, *strangers)
    )
    assert moves[True] == len(sealed)
    ages = Counter(
        opens(
            FORMAT + named.id.bytes + value[KEY_ID.stop :],
            place,
            [DataKey(named.id, named.version + later, key.cipher)],
        )
        for place, value in sealed.items()
        for key in data_keys[place.schema, place.organization]
        for named in every_key
        for later in (0, 1)
    )
    # Each by its own key as it is, and by nothing else.
    assert ages[True] == len(sealed)
    record_property(
        "figure",
        f"{len(sealed)} sealed values, {moves[False]} moves and {ages[False]} false keys or versions",
    )


def opens(value: bytes, place: Place, keys: Sequence[DataKey]) -> bool:
    """Whether a value opens in a place, for who has these data keys."""
    keyring = Keyring(place.schema, place.organization, keys, None)
    try:
        keyring.open_bytes(value, table=place.table, row=place.row, column=place.column)
    except DoesNotOpen:
        return False
    return True


def _keys_of(secrets: Mapping[str, Any]) -> set[str]:
    """Whatever has the form of a key."""
    found: set[str] = set()
    for value in secrets.values():
        if isinstance(value, dict):
            found |= _keys_of(value)
        elif len(value) == 44 and value.endswith("="):
            found.add(value)
    return found
