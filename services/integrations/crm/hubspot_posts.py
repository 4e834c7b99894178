"""What HubSpot posts to an app: events of many accounts together (https://developers.hubspot.com/docs/api-reference/legacy/webhooks/guide)."""

from collections.abc import Collection
from datetime import datetime

import orjson

from chassis.secret import Secret
from services.integrations.crm.provider import Post
from services.integrations.crm.signatures import is_hubspot


def accounts_told(secret: Secret, post: Post, now: datetime) -> Collection[str] | None:
    """The portals that it is about; None where it is not HubSpot's, or not of now. One in another form is about none."""
    if not is_hubspot(
        secret, "POST", post.url, post.body, signature=post.signature, timestamp=post.timestamp, now=now
    ):
        return None
    try:
        events = orjson.loads(post.body)
    except orjson.JSONDecodeError:
        return ()
    if not isinstance(events, list):
        return ()
    portals = [event.get("portalId") for event in events if isinstance(event, dict)]
    return {str(portal) for portal in portals if isinstance(portal, int)}
