"""Single messages: the veto holds for them, too."""

from deploy.demo.checks import census, once_each
from deploy.demo.client import Json
from deploy.demo.scene import Scene
from deploy.demo.waiting import until

_DEADLINE_SECONDS = 20


async def a_suppressed_address_gets_no_single_message(scene: Scene) -> None:
    """A one-off message to someone who unsubscribed is refused; one to somebody else arrives."""
    subject = f"Your receipt ({scene.run})"
    gone, friend = scene.unsubscribed[0], f"friend.{scene.run}@example.test"
    refusal = await scene.shop.key.refusal("POST", "/v1/messages", _receipt(scene, gone, subject))
    created = await scene.shop.key.post("/v1/messages", _receipt(scene, friend, subject))
    scene.one_off_id = created["message"]["id"]

    async def look() -> Json:
        return await scene.shop.key.get(f"/v1/messages/{scene.one_off_id}")

    settled = await until(
        look, lambda seen: seen["status"] not in ("queued", "approved"), seconds=_DEADLINE_SECONDS
    )
    mail = await scene.inbox.mail_about(subject)
    scene.ledger.expect(
        "A one-off message to a suppressed address is refused", expected="409 suppressed", actual=refusal
    )
    scene.ledger.expect("A one-off message to another is sent", expected="sent", actual=settled["status"])
    scene.ledger.expect(
        "It arrives once, and nothing at the suppressed address",
        expected=once_each([friend]),
        actual=census([friend], (recipient for message in mail for recipient in message.recipients)),
    )


def _receipt(scene: Scene, to: str, subject: str) -> Json:
    return {
        "to": to,
        "from_email": f"orders@greengrocer-{scene.run}.test",
        "from_name": scene.shop.name,
        "subject": subject,
        "text": "Thank you for two punnets of strawberries.",
        "html": "<p>Thank you for two punnets of strawberries.</p>",
    }
