"""What a caller shows to prove who it is: `Authorization: Bearer` with an access token, an API key, or one derived from it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from chassis import api_key, derived_key
from chassis.api_key import ApiKey
from chassis.derived_key import DerivedKey
from chassis.errors import Unauthenticated
from flownurture.identity.v1 import admission_pb2
from gateway.access_tokens import AccessTokenVerifier

LONGEST_HEADER = 4096
_REMEMBERED = 10_000

# Fields of a grant in Redis, which identity writes.
_SECRET = b"secret"
_DERIVED = b"derived:"


@dataclass(frozen=True, slots=True)
class Credential:
    """A genuine token or a well-formed key. Whether it is live, and what it may do, is asked at each request."""

    # "session:<id>" or "key:<id>", as in the names of Redis keys.
    name: str
    # The field of its grant in Redis that shows it to be genuine, and what stands there when it is.
    proof: tuple[bytes, bytes]
    # Unix seconds until which this check may be remembered.
    checked_until: float
    # Of a derived key: it goes by the name of the key that it was derived from.
    derived: DerivedKey | None = None
    # The scopes that a derived key is narrowed to; None when it is not.
    narrowed_to: frozenset[str] | None = None

    def resolve_request(self) -> admission_pb2.ResolveCredentialRequest:
        """The question that identity answers about this credential."""
        kind, _, identifier = self.name.partition(":")
        if kind == "session":
            return admission_pb2.ResolveCredentialRequest(session_id=identifier)
        credential = admission_pb2.ApiKeyCredential(api_key_id=identifier)
        if self.derived is None:
            credential.secret_sha256 = self.proof[1]
        else:
            credential.restrictions[:] = self.derived.restrictions
            credential.signature = self.derived.signature
        return admission_pb2.ResolveCredentialRequest(api_key=credential)


def of_session(session_id: UUID, expires_at: float) -> Credential:
    """The session of a verified token, which is all the proof that there is."""
    return Credential(f"session:{session_id}", (_SECRET, b""), expires_at)


def of_api_key(key: ApiKey) -> Credential:
    """A well-formed key."""
    return Credential(f"key:{key.key_id}", (_SECRET, key.secret_digest), math.inf)


def of_derived_key(key: DerivedKey) -> Credential:
    """A well-formed derived key, until it expires."""
    expires_at = math.inf if key.expires_at is None else key.expires_at
    return Credential(f"key:{key.key_id}", (_DERIVED + key.digest, b""), expires_at, key, key.scopes)


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
        try:
            if text.startswith(api_key.PREFIX):
                return of_api_key(ApiKey.parse(text))
            if text.startswith(derived_key.PREFIX):
                return self._unexpired(of_derived_key(DerivedKey.parse(text)))
        except ValueError:
            raise Unauthenticated from None
        token = await self._tokens.verify(text)
        return of_session(token.session_id, token.expires_at)

    def _unexpired(self, credential: Credential) -> Credential:
        if self._clock() >= credential.checked_until:
            raise Unauthenticated
        return credential
