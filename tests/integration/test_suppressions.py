"""The suppression list through the gateway: filled from a file, written into one, and every removal in the audit trail."""

import httpx

from deploy.demo.client import Json
from deploy.demo.waiting import until
from tests.integration.tenants import authorization, sign_up


async def test_what_a_file_put_on_the_list_is_removed_by_an_admin_and_the_trail_says_by_whom(
    api: httpx.AsyncClient,
) -> None:
    tenant = await sign_up(api)
    file = b"email\nada@example.test\nnobody\n"
    imported = await tenant.key.upload("/v1/suppressions/imports", '{"note": "old system"}', "a.csv", file)
    assert (imported["processed_rows"], imported["added_addresses"], imported["failed_rows"]) == (2, 1, 1)
    assert [error["line"] for error in imported["errors"]] == [3]
    exported = await api.get("/v1/suppressions/export", headers=authorization(tenant.secret))
    assert exported.headers["content-disposition"] == 'attachment; filename="suppressions.csv"'
    (entry,) = (await tenant.key.get("/v1/suppressions", search="ada@"))["suppressions"]
    assert f"ada@example.test,{entry_digest(exported.text)},manual,old system" in exported.text
    assert entry["added_by"]["kind"] == "api_key"
    await tenant.owner.delete(f"/v1/suppressions/{entry['id']}")

    async def trail() -> Json:
        return await tenant.owner.get("/v1/audit-events", act="suppression_removed")

    (event,) = (await until(trail, lambda found: bool(found["audit_events"]), seconds=20))["audit_events"]
    me = await tenant.owner.get("/v1/me")
    assert (event["target_id"], event["actor"]) == (entry["id"], {"kind": "user", "id": me["user"]["id"]})
    assert event["before"] == {"reason": "manual", "email_digest": entry_digest(exported.text)}


def entry_digest(exported: str) -> str:
    return exported.splitlines()[1].split(",")[1]
