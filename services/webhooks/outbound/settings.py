"""Where an operator lets posts go."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field, Json

from chassis.settings import EnvironmentSettings
from services.webhooks.outbound.addresses import AddressRules
from services.webhooks.outbound.destinations import DestinationRules
from services.webhooks.outbound.ports import PortRanges


class WebhookDestinationSettings(EnvironmentSettings):
    """What a process that posts to customers' URLs, or takes such URLs in, needs."""

    webhook_https_only: bool = Field(True, description="whether endpoints must have https:// URLs")
    webhook_ports: PortRanges = Field(
        PortRanges.parse("443,8443"),
        description="the ports that endpoints may have: numbers and ranges, as in 80,443,1024-65535",
    )
    webhook_allowed_ranges: Json[list[IPv4Network | IPv6Network]] = Field(
        "[]",
        validate_default=True,
        description="networks that endpoints may be in though they are not public: JSON list, as in"
        ' ["10.1.0.0/16"]; none in production',
    )
    dns_resolver: str = Field(
        "", description="the resolver for endpoints' names, as host:port; the system's where it is empty"
    )

    @property
    def destination_rules(self) -> DestinationRules:
        """What all of that says."""
        return DestinationRules(
            self.webhook_https_only, self.webhook_ports, AddressRules(self.webhook_allowed_ranges)
        )
