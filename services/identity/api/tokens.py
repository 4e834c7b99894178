"""What the answers that sign somebody in have in common."""

from typing import TypedDict
from uuid import UUID

from chassis.context import PLATFORM, RequestContext
from flownurture.identity.v1.auth_pb2 import LogInResponse
from services.identity.access_tokens import LIFETIME, AccessTokens
from services.identity.api.messages import home_message, user_message
from services.identity.clock import Clock
from services.identity.organizations import Organization
from services.identity.refresh_tokens import RefreshToken
from services.identity.users import User


class Tokens(TypedDict):
    """The fields of such an answer."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


class TokenAnswers:
    """Writes the tokens of a session that has begun or was refreshed."""

    def __init__(self, access_tokens: AccessTokens, clock: Clock) -> None:
        self._access_tokens = access_tokens
        self._clock = clock

    def tokens(self, theirs: RequestContext, refresh_token: RefreshToken) -> Tokens:
        """Both tokens of the session that the context names."""
        access_token = self._access_tokens.issue(
            user_id=UUID(theirs.actor_id),
            session_id=UUID(theirs.session_id),
            organization_id=None if theirs.organization == PLATFORM else theirs.organization,
        )
        return {
            "access_token": access_token,
            "refresh_token": refresh_token.text,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }

    def signed_in(
        self, theirs: RequestContext, refresh_token: RefreshToken, user: User, organization: Organization
    ) -> LogInResponse:
        """Who is signed in, where, and the tokens."""
        return LogInResponse(
            user=user_message(user),
            organization=home_message(organization, self._clock()),
            **self.tokens(theirs, refresh_token),
        )
