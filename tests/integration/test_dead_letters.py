"""An operator finds what a process gave up and has it handled again, over the API and in the running platform."""

from uuid import uuid4

import httpx
import psycopg

from deploy.demo.client import Client, Json
from deploy.demo.waiting import until
from deploy.local.environment import READERS
from tests.integration.house import House

PARK = """
    INSERT INTO contacts.dead_letters (process, stream, subject, envelope, deliveries, error)
    VALUES ('contacts', 'SUPPRESSION', 'flownurture.suppression.addresses_suppressed', '\\xff', 8, %s) RETURNING id::text
"""


async def test_an_operator_finds_what_a_process_gave_up_and_has_it_handled_again(
    house: House, api: httpx.AsyncClient
) -> None:
    login = await Client(api).post("/v1/auth/login", house.facts["super_admin"])
    operator, reason = Client(api, login["access_token"]), f"ValueError: {uuid4()}"
    with psycopg.connect(house.facts["database_url"]) as connection:
        [parked] = connection.execute(PARK, [reason]).fetchone() or ()

    async def look() -> Json:
        letters = await operator.every("/v1/admin/dead-letters", "dead_letters")
        [letter] = [letter for letter in letters if letter["id"] == parked]
        return letter

    letter = await look()
    assert (letter["process"], letter["error"], letter["deliveries"]) == ("contacts", reason, 8)
    assert (await operator.get("/v1/admin/dead-letters"))["unreachable"] == []
    replay = {"process": "contacts", "dead_letter_ids": [parked]}
    assert await operator.post("/v1/admin/dead-letters/replay", replay) == {"requested": 1}
    # It cannot be read, so it fails once more: the running process has tried.
    tried = await until(look, lambda letter: letter["deliveries"] == 9, seconds=30)
    assert tried["error"] != reason
    with psycopg.connect(house.facts["database_url"]) as connection:
        connection.execute("DELETE FROM contacts.dead_letters WHERE id = %s", [parked])


async def test_every_process_that_reads_events_can_be_asked(house: House, api: httpx.AsyncClient) -> None:
    login = await Client(api).post("/v1/auth/login", house.facts["super_admin"])
    operator = Client(api, login["access_token"])
    for process in READERS:
        assert (await operator.get("/v1/admin/dead-letters", process=process))["unreachable"] == []
    refusal = await api.get(
        "/v1/admin/dead-letters",
        params={"process": "nobody"},
        headers={"Authorization": f"Bearer {login['access_token']}"},
    )
    assert refusal.status_code == 422
    [error] = refusal.json()["errors"]
    assert error["field"] == "process"
    assert all(process in error["message"] for process in READERS)
