"""Access to a local server, by tokens of which one after the other ends."""

from dataclasses import dataclass, field

from chassis.secret import Secret
from services.integrations.crm.errors import Unauthorized


@dataclass
class Key:
    """What a connection would give."""

    base_url: str
    is_api_key: bool = False
    good: list[str] = field(default_factory=lambda: ["token-1", "token-2"])

    async def token(self) -> Secret:
        """The one of now."""
        return Secret(self.good[0])

    async def renewed(self, stale: Secret) -> Secret:
        """The next."""
        assert stale.reveal() == self.good.pop(0)
        if not self.good:
            raise Unauthorized
        return Secret(self.good[0])
