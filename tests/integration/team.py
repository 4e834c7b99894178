"""Members of an organization, past the mail of an invitation: for tests that are not about how people come in."""

from uuid import UUID

import httpx
import psycopg

from chassis.identifiers import new_id
from deploy.demo.client import Client
from tests.integration.house import House
from tests.integration.tenants import Tenant, sign_up


async def join(person: Tenant, team: Tenant, house: House) -> str:
    """Make the person a member of the team's organization; answers the membership's id."""
    user_id = await user_id_of(person)
    membership = new_id()
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        await connection.execute(
            "INSERT INTO identity.memberships (organization_id, user_id, id, role) VALUES (%s, %s, %s, 'MEMBER')",
            (UUID(team.organization_id), UUID(user_id), membership),
        )
    return str(membership)


async def switch(person: Tenant, membership_id: str, api: httpx.AsyncClient) -> str:
    """A token of a fresh session of the person in that organization."""
    proof = {"email": person.email, "password": person.password}
    home = Client(api, (await Client(api).post("/v1/auth/login", proof))["access_token"])
    switched = await home.post("/v1/auth/switch", {"membership_id": membership_id})
    return str(switched["access_token"])


async def user_id_of(person: Tenant) -> str:
    """Who they are."""
    return str((await person.owner.get("/v1/me"))["user"]["id"])


async def member_of(team: Tenant, api: httpx.AsyncClient, house: House) -> tuple[str, str]:
    """A new member of the team's organization: a token of theirs, and who they are."""
    person = await sign_up(api)
    membership = await join(person, team, house)
    return await switch(person, membership, api), await user_id_of(person)
