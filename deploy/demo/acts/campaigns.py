"""Campaigns go out, people leave, and the next campaign leaves them out."""

import asyncio
from time import monotonic

import httpx

from deploy.demo.checks import all_alike, census, once_each, tally
from deploy.demo.client import Json, UnexpectedAnswer
from deploy.demo.inbox import unsubscribe
from deploy.demo.people import PEOPLE
from deploy.demo.scene import CampaignRun, Scene
from deploy.demo.waiting import until

_LEAVERS = 25
_DEADLINE_SECONDS = 90
_SETTLED = ("sent", "vetoed", "bounced", "failed", "indeterminate")


async def a_campaign_reaches_everyone_once(scene: Scene) -> None:
    """A campaign goes to the list; everyone gets it once, and one address turns out not to exist."""
    readers = scene.file.readers
    scene.first_campaign = sent = await _send(
        scene, "first", f"The first strawberries are here ({scene.run})"
    )
    scene.ledger.expect(
        "The report adds up to the audience",
        expected=f"completed: audience {PEOPLE:,}: {PEOPLE - 1:,} sent, 1 bounced",
        actual=_account(sent.report),
    )
    scene.ledger.expect(
        "Exactly those people got it, exactly once",
        expected=once_each(readers),
        actual=_who_got(sent, readers),
    )
    scene.ledger.expect(
        "Every mail can be unsubscribed from with one click (RFC 8058)",
        expected=f"{len(readers):,} of {len(readers):,}",
        actual=f"{sum(bool(mail.unsubscribe_url) for mail in sent.mail):,} of {len(sent.mail):,}",
    )
    bounced = await scene.shop.key.every(f"/v1/campaigns/{sent.id}/messages", "messages", status="bounced")
    scene.ledger.expect(
        "The hard bounce is shown with the server's reply",
        expected=f"{scene.file.bouncing}: 550",
        actual=", ".join(f"{message['to']}: {message['smtp_reply'][:3]}" for message in bounced) or "none",
    )


async def people_unsubscribe_with_one_click(scene: Scene) -> None:
    """25 people unsubscribe with one click, all at the same moment, without cookie or login."""
    step = len(scene.file.readers) // _LEAVERS
    scene.unsubscribed = scene.file.readers[::step][:_LEAVERS]
    urls = [_unsubscribe_url(scene, reader) for reader in scene.unsubscribed]
    async with httpx.AsyncClient(timeout=30) as anybody:
        answers = await asyncio.gather(*(unsubscribe(anybody, url) for url in urls))
        again = await unsubscribe(anybody, urls[0])
    scene.ledger.expect(
        "One click is enough, and a second one does no harm",
        expected=f"{_LEAVERS + 1} × 200",
        actual=all_alike([*answers, again]),
    )
    for reason, people in (("unsubscribe", scene.unsubscribed), ("hard_bounce", [scene.file.bouncing])):
        held = await scene.shop.key.every("/v1/suppressions", "suppressions", reason=reason)
        scene.ledger.expect(
            f"The suppression list holds them at once (reason {reason})",
            expected=once_each(people),
            actual=census(people, (entry["email"] for entry in held)),
        )
    for status, people in (("unsubscribed", scene.unsubscribed), ("bounced", [scene.file.bouncing])):
        scene.ledger.expect(
            f"Their contacts show it ({status})",
            expected=once_each(people),
            actual=await _contacts_with(scene, status, people),
        )


async def the_next_campaign_leaves_exactly_those_out(scene: Scene) -> None:
    """A second campaign to the same list: exactly those 26 are vetoed, all others get it once."""
    readers = [reader for reader in scene.file.readers if reader not in scene.unsubscribed]
    sent = await _send(scene, "second", f"The last strawberries are going ({scene.run})")
    scene.ledger.expect(
        "The report adds up to the audience",
        expected=f"completed: audience {PEOPLE:,}: {len(readers):,} sent, {_LEAVERS + 1} vetoed",
        actual=_account(sent.report),
    )
    scene.ledger.expect(
        "Exactly the others got it, exactly once", expected=once_each(readers), actual=_who_got(sent, readers)
    )
    vetoed = await scene.shop.key.every(f"/v1/campaigns/{sent.id}/messages", "messages", status="vetoed")
    for reason, people in (("unsubscribe", scene.unsubscribed), ("hard_bounce", [scene.file.bouncing])):
        scene.ledger.expect(
            f"Each veto names its reason ({reason})",
            expected=once_each(people),
            actual=census(people, (message["to"] for message in vetoed if message["veto_reason"] == reason)),
        )


async def _send(scene: Scene, which: str, subject: str) -> CampaignRun:
    """Write and launch a campaign to the list, and watch it to its end."""
    key = scene.shop.key
    began = monotonic()
    campaign = await key.post(
        "/v1/campaigns",
        {
            "name": subject,
            "subject": subject,
            "from_name": scene.shop.name,
            "from_email": f"news@greengrocer-{scene.run}.test",
            "html": "<h1>Strawberries!</h1><p>Come early, they are soon gone.</p>",
            "text": "Strawberries! Come early, they are soon gone.",
            "audience": {"list_ids": [scene.list_id]},
        },
    )
    await key.post(f"/v1/campaigns/{campaign['id']}/launch")
    report = await _watch(scene, campaign["id"])
    scene.ledger.figures[f"{which}_campaign_seconds"] = round(monotonic() - began, 2)
    return CampaignRun(campaign["id"], subject, report, await scene.inbox.mail_about(subject))


async def _watch(scene: Scene, campaign_id: str) -> Json:
    with scene.screen.bar("delivered, vetoed or bounced", PEOPLE) as show:

        async def look() -> Json:
            seen = await scene.shop.key.get(f"/v1/campaigns/{campaign_id}/report")
            show(sum(seen[outcome] for outcome in _SETTLED))
            return seen

        return await until(
            look, lambda seen: seen["status"] in ("completed", "failed"), seconds=_DEADLINE_SECONDS
        )


def _unsubscribe_url(scene: Scene, reader: str) -> str:
    for mail in scene.first_campaign.mail:
        if reader in mail.recipients and mail.unsubscribe_url:
            return mail.unsubscribe_url
    raise UnexpectedAnswer(f"{reader} got no mail that can be unsubscribed from with one click")


def _account(report: Json) -> str:
    amounts = {name: report[name] for name in (*_SETTLED, "queued", "approved", "deferred")}
    return f"{report['status']}: audience {report['audience']:,}: {tally(amounts)}"


def _who_got(sent: CampaignRun, readers: list[str]) -> str:
    return census(readers, (recipient for mail in sent.mail for recipient in mail.recipients))


async def _contacts_with(scene: Scene, status: str, people: list[str]) -> str:
    """Who has this status, once it has come to the contacts."""

    async def look() -> list[Json]:
        return await scene.shop.key.every("/v1/contacts", "contacts", status=status)

    seen = await until(look, lambda contacts: len(contacts) >= len(people), seconds=15)
    return census(people, (contact["email"] for contact in seen))
