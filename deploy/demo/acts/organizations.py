"""Organizations sign up and make themselves keys."""

import asyncio
import secrets

from deploy.demo.client import Client
from deploy.demo.scene import Organization, Scene

_SCOPES = [
    f"{resource}:{verb}"
    for resource in ("contacts", "campaigns", "messages", "suppressions")
    for verb in ("read", "write")
]


async def two_organizations_sign_up(scene: Scene) -> None:
    """Two organizations sign up and make an API key each."""
    scene.shop, scene.rival = await asyncio.gather(
        _sign_up(scene, "Green Grocer", "greengrocer"), _sign_up(scene, "Rival Market", "rival")
    )
    scene.organizations = [scene.shop, scene.rival]
    keys = await scene.shop.owner.get("/v1/api-keys")
    scene.ledger.expect(
        "Each sign-up makes an organization of its own",
        expected="2 organizations",
        actual=f"{len({scene.shop.id, scene.rival.id})} organizations",
    )
    scene.ledger.expect(
        "A key's secret is shown once, at its creation",
        expected="1 key, no secret",
        actual=f"{len(keys['api_keys'])} key, {'a' if 'secret' in str(keys) else 'no'} secret",
    )
    contacts = await scene.shop.key.every("/v1/contacts", "contacts")
    scene.ledger.expect(
        "A new organization starts empty", expected="0 contacts", actual=f"{len(contacts)} contacts"
    )


async def make_key(owner: Client, name: str, scopes: list[str]) -> str:
    """Create an API key; answers its secret."""
    created = await owner.post("/v1/api-keys", {"name": name, "scopes": scopes})
    return str(created["secret"])


async def _sign_up(scene: Scene, name: str, domain: str) -> Organization:
    email, password = f"owner.{scene.run}@{domain}.test", secrets.token_urlsafe(15)
    signed_up = await Client(scene.api).post(
        "/v1/auth/signup",
        {"email": email, "password": password, "name": "Olive Owner", "organization_name": name},
    )
    owner = Client(scene.api, signed_up["access_token"])
    key = await make_key(owner, "demo", _SCOPES)
    return Organization(signed_up["organization"]["id"], name, email, password, owner, Client(scene.api, key))
