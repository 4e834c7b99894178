"""Who is not of the organization, or not allowed, finds nothing."""

import asyncio

from deploy.demo.acts.organizations import make_key
from deploy.demo.checks import all_alike, tally
from deploy.demo.client import Call, Client, refusals
from deploy.demo.scene import Scene

# Where everything that this story made can be listed.
_LISTS = {
    "contacts": "/v1/contacts",
    "lists": "/v1/lists",
    "imports": "/v1/contacts/imports",
    "campaigns": "/v1/campaigns",
    "messages": "/v1/messages",
    "suppressions": "/v1/suppressions",
}


async def the_other_organization_finds_none_of_it(scene: Scene) -> None:
    """The other organization's key finds none of it: its lists are empty, and by id everything is 404."""
    rival = scene.rival.key
    everything = await asyncio.gather(*(rival.every(path, resource) for resource, path in _LISTS.items()))
    seen = dict(zip(_LISTS, map(len, everything), strict=True))
    scene.ledger.expect("Its lists are empty", expected="none", actual=tally(seen))
    calls = await _calls_by_id(scene, rival)
    scene.ledger.expect(
        "By id, nothing of it exists, neither to read nor to change",
        expected=f"{len(calls)} × 404 not-found",
        actual=all_alike(await refusals(calls)),
    )
    contact = await scene.shop.key.get(await _contact_path(scene))
    scene.ledger.expect("What it tried to change is as it was", expected="Ada", actual=contact["first_name"])


async def without_the_right_key_there_is_no_way_in(scene: Scene) -> None:
    """Without a key everything is 401; a key that lacks the scope gets 403."""
    reader = Client(scene.api, await make_key(scene.shop.owner, "reads contacts", ["contacts:read"]))
    nobody, forger = Client(scene.api), Client(scene.api, "fnk_live_0000000000000000_forged")
    paths = ("/v1/me", *_LISTS.values())
    doors = [Call(caller, "GET", path) for caller in (nobody, forger) for path in paths]
    scene.ledger.expect(
        "Without a key, or with a forged one, nothing opens",
        expected=f"{len(doors)} × 401 unauthenticated",
        actual=all_alike(await refusals(doors)),
    )
    beyond = [
        Call(reader, "POST", "/v1/contacts", {"email": f"new.{scene.run}@example.test"}),
        Call(reader, "POST", "/v1/lists", {"name": "Mine"}),
        Call(reader, "GET", "/v1/campaigns"),
        Call(reader, "GET", "/v1/messages"),
    ]
    scene.ledger.expect(
        "A key that may read contacts may do that only",
        expected=f"{len(beyond)} × 403 insufficient-scope",
        actual=all_alike(await refusals(beyond)),
    )
    found = await reader.get("/v1/contacts", email=scene.file.readers[0])
    scene.ledger.expect("And that it may", expected="1 contact", actual=f"{len(found['contacts'])} contact")


async def _calls_by_id(scene: Scene, caller: Client) -> list[Call]:
    contact = await _contact_path(scene)
    a_list, campaign = f"/v1/lists/{scene.list_id}", f"/v1/campaigns/{scene.first_campaign.id}"
    return [
        Call(caller, "GET", contact),
        Call(caller, "PATCH", contact, {"first_name": "Mallory"}),
        Call(caller, "DELETE", contact),
        Call(caller, "GET", a_list),
        Call(caller, "GET", f"{a_list}/contacts"),
        Call(caller, "PATCH", a_list, {"name": "Mine"}),
        Call(caller, "DELETE", a_list),
        Call(caller, "GET", f"/v1/contacts/imports/{scene.import_id}"),
        Call(caller, "GET", campaign),
        Call(caller, "GET", f"{campaign}/report"),
        Call(caller, "GET", f"{campaign}/messages"),
        Call(caller, "POST", f"{campaign}/launch", {}),
        Call(caller, "GET", f"/v1/messages/{scene.one_off_id}"),
    ]


async def _contact_path(scene: Scene) -> str:
    found = await scene.shop.key.get("/v1/contacts", email=scene.file.readers[0])
    return f"/v1/contacts/{found['contacts'][0]['id']}"
