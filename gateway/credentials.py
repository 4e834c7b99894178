"""What a caller shows to prove who it is: `Authorization: Bearer` with an access token or an API key."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from chassis.api_key import PREFIX, ApiKey
from chassis.errors import Unauthenticated
from flownurture.identity.v1 import admission_pb2
from gateway.access_tokens import AccessTokenVerifier

LONGEST_HEADER = 4096
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Credential:
    """A genuine token or a well-formed key. Whether it is live, and what it may do, is asked at each request."""

    # "session:<id>" or "key:<id>", as in the names of Redis keys.
    name: str
    # Of an API key; empty for a session, whose token has been verified.
    secret_digest: bytes
    # Unix seconds until which this check may be remembered.
    checked_until: float

    def resolve_request(self) -> admission_pb2.ResolveCredentialRequest:
        """The question that identity answers about this credential."""
        kind, _, identifier = self.name.partition(":")
        if kind == "session":
            return admission_pb2.ResolveCredentialRequest(session_id=identifier)
        api_key = admission_pb2.ApiKeyCredential(api_key_id=identifier, secret_sha256=self.secret_digest)
        return admission_pb2.ResolveCredentialRequest(api_key=api_key)


class Authenticator:
    """Turns the Authorization header into a credential. Remembers checks by the header's digest."""

    def __init__(self, tokens: AccessTokenVerifier, clock: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._clock = clock
        self._checked: dict[bytes, Credential] = {}

    async def authenticate(self, header: str | None) -> Credential:
        """The credential in an Authorization header; raises Unauthenticated when there is no good one."""
        if header is None:
            raise Unauthenticated
        digest = sha256(header.encode("utf-8", "surrogateescape")).digest()
        known = self._checked.get(digest)
        if known is not None and self._clock() < known.checked_until:
            return known
        credential = await self._check(header)
        if len(self._checked) >= _REMEMBERED:
            del self._checked[next(iter(self._checked))]
        self._checked[digest] = credential
        return credential

    async def _check(self, header: str) -> Credential:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or len(header) > LONGEST_HEADER:
            raise Unauthenticated
        if not text.startswith(PREFIX):
            token = await self._tokens.verify(text)
            return Credential(f"session:{token.session_id}", b"", token.expires_at)
        try:
            key = ApiKey.parse(text)
        except ValueError:
            raise Unauthenticated from None
        return Credential(f"key:{key.key_id}", key.secret_digest, float("inf"))
