"""What the gateway is told by its environment."""

from pydantic import Field

from chassis.secret import Secret
from chassis.settings import ProcessSettings


class GatewaySettings(ProcessSettings):
    """The gateway's settings: where it listens, whom it trusts, and where each domain answers."""

    redis_url: Secret = Field(description="redis://… that holds grants and rates, shared with identity")
    jwt_issuer: str = Field(description="the `iss` that access tokens must have")
    jwt_audience: str = Field(description="the `aud` that access tokens must have")
    public_url: str = Field(description="where clients reach the gateway, as its documentation tells them")
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=8,
        description="how many proxies of ours stand in front, each adding to X-Forwarded-For whom it was called by",
    )
    identity_target: str = Field(description="host:port or gRPC target of identity")
    contacts_target: str = Field(description="host:port or gRPC target of contacts")
    sending_target: str = Field(description="host:port or gRPC target of sending")
    suppression_target: str = Field(description="host:port or gRPC target of suppression")
    delivery_target: str = Field(description="host:port or gRPC target of delivery")
    feedback_target: str = Field(description="host:port or gRPC target of feedback")
    workflows_target: str = Field(description="host:port or gRPC target of workflows")
    webhooks_target: str = Field(description="host:port or gRPC target of webhooks")
    integrations_target: str = Field(description="host:port or gRPC target of integrations")

    def target(self, domain: str) -> str:
        """Where a domain of the contract answers; raises LookupError for one that has no setting."""
        try:
            return str(getattr(self, f"{domain}_target"))
        except AttributeError:
            raise LookupError(f"{domain.upper()}_TARGET is not a setting of the gateway") from None
