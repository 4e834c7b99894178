"""People come in by a CSV file."""

import json

from deploy.demo.client import Json
from deploy.demo.people import PEOPLE
from deploy.demo.scene import Scene
from deploy.demo.waiting import until

_DEADLINE_SECONDS = 60


async def a_thousand_people_are_imported(scene: Scene) -> None:
    """A CSV file of 1,000 people is imported; bad rows are told by their line."""
    key = scene.shop.key
    scene.list_id = (await key.post("/v1/lists", {"name": "Newsletter"}))["id"]
    options = json.dumps({"list_id": scene.list_id})
    started = await key.upload("/v1/contacts/imports", options, "people.csv", scene.file.content)
    scene.import_id = started["id"]
    finished = await _watch(scene)

    scene.ledger.expect(
        "Every good row becomes a contact",
        expected=f"completed, {PEOPLE:,} created",
        actual=_outcome(finished),
    )
    scene.ledger.expect(
        "Bad rows are refused, each with its line",
        expected=f"2 rows, lines {scene.file.bad_lines}",
        actual=f"{finished['failed_rows']} rows, lines {[error['line'] for error in finished['errors']]}",
    )
    scene.ledger.expect(
        "An address that comes twice is one person",
        expected=f"{scene.file.duplicates} duplicate",
        actual=f"{finished['duplicate_rows']} duplicate",
    )
    found = await key.get(f"/v1/lists/{scene.list_id}")
    scene.ledger.expect(
        "They are on the list they were imported to",
        expected=f"{PEOPLE:,} on the list",
        actual=f"{found['contact_count']:,} on the list",
    )


async def _watch(scene: Scene) -> Json:
    with scene.screen.bar("imported, per cent", 100) as show:

        async def look() -> Json:
            seen = await scene.shop.key.get(f"/v1/contacts/imports/{scene.import_id}")
            show(round(100 * seen["progress"]))
            return seen

        return await until(
            look, lambda seen: seen["status"] in ("completed", "failed"), seconds=_DEADLINE_SECONDS
        )


def _outcome(finished: Json) -> str:
    reason = f" ({finished['failure']})" if finished["failure"] else ""
    return f"{finished['status']}{reason}, {finished['created_contacts']:,} created"
