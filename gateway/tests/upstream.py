"""The processes behind a gateway under test: real gRPC servers that verify stamps, with answers a test can choose."""

import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from redis.asyncio import Redis

from chassis.api_key import ApiKey
from chassis.context import RequestContext
from chassis.derived_key import DerivedKey, chain_key
from chassis.errors import Unauthenticated
from chassis.identifiers import new_id
from flownurture.context.v1.context_pb2 import Actor
from flownurture.identity.v1 import admission_pb2, auth_pb2
from flownurture.options.v1 import access_pb2

ISSUER = "https://flownurture.test"
AUDIENCE = "flownurture-api"

Handler = Callable[[Any, RequestContext], Awaitable[Message]]


@dataclass(frozen=True)
class Asked:
    """One call that reached an upstream."""

    rpc: str
    request: Any
    context: RequestContext


class Upstream:
    """Answers every RPC of a service: as a test says, else with an empty message."""

    def __init__(self, service: ServiceDescriptor) -> None:
        self.service = service
        self.asked: list[Asked] = []
        self._answers: dict[str, Handler] = {}
        self._pieces: dict[str, Callable[[], AsyncGenerator[Message, None]]] = {}
        for rpc in service.methods:
            name = re.sub("(?<!^)(?=[A-Z])", "_", rpc.name).lower()
            setattr(self, name, self._handler(rpc))

    @property
    def domain(self) -> str:
        """The process that serves it."""
        return str(self.service.file.package.split(".")[1])

    def answer(self, rpc: str, handler: Handler) -> None:
        """Answer an RPC so from now on."""
        self._answers[rpc] = handler

    def of(self, request_id: str) -> list[Asked]:
        """The calls made for one HTTP request."""
        return [asked for asked in self.asked if asked.context.request_id == request_id]

    def _handler(self, rpc: MethodDescriptor) -> Callable[..., Any]:
        if rpc.server_streaming:
            return self._answering_in_pieces(rpc)
        return self._streaming(rpc) if rpc.client_streaming else self._unary(rpc)

    def _answering_in_pieces(self, rpc: MethodDescriptor) -> Callable[..., AsyncIterator[Message]]:
        async def handle(request: Any, context: RequestContext) -> AsyncIterator[Message]:
            self.asked.append(Asked(rpc.name, request, context))
            if (produce := self._pieces.get(rpc.name)) is not None:
                async with aclosing(produce()) as pieces:
                    async for piece in pieces:
                        yield piece

        return handle

    def answer_in_pieces(self, rpc: str, produce: Callable[[], AsyncGenerator[Message, None]]) -> None:
        """Answer an RPC with a stream so from now on."""
        self._pieces[rpc] = produce

    def _unary(self, rpc: MethodDescriptor) -> Handler:
        async def handle(request: Any, context: RequestContext) -> Message:
            self.asked.append(Asked(rpc.name, request, context))
            return await self._answer(rpc, request, context)

        return handle

    def _streaming(self, rpc: MethodDescriptor) -> Handler:
        async def handle(requests: AsyncIterator[Any], context: RequestContext) -> Message:
            self.asked.append(Asked(rpc.name, None, context))
            return await self._answer(rpc, requests, context)

        return handle

    async def _answer(self, rpc: MethodDescriptor, request: Any, context: RequestContext) -> Message:
        handler = self._answers.get(rpc.name)
        return await handler(request, context) if handler else GetMessageClass(rpc.output_type)()


@dataclass
class Identity:
    """What identity knows and does, as far as the gateway can see: sessions, keys, tokens, the grants in Redis."""

    redis: Redis
    signing_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    grants: dict[str, admission_pb2.Grant] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)
    chain_keys: dict[str, bytes] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)

    def upstreams(self) -> list[Upstream]:
        """The two services that the gateway itself asks."""
        admission = Upstream(admission_pb2.DESCRIPTOR.services_by_name["AdmissionService"])
        admission.answer("ResolveCredential", self.resolve)
        auth = Upstream(auth_pb2.DESCRIPTOR.services_by_name["AuthService"])
        auth.answer("GetJwks", self.jwks)
        return [admission, auth]

    async def resolve(
        self, request: admission_pb2.ResolveCredentialRequest, context: RequestContext
    ) -> admission_pb2.Grant:
        """Answer from what is known, and fill the cache unless there is a hold."""
        shown = request.api_key
        name = f"key:{shown.api_key_id}" if shown.api_key_id else f"session:{request.session_id}"
        self.resolved.append(name)
        derived = None
        if shown.signature:
            derived = DerivedKey(UUID(shown.api_key_id), tuple(shown.restrictions), shown.signature)
        if name not in self.grants or not self._is_genuine(name, shown, derived):
            raise Unauthenticated
        await self.fill(name, self.grants[name], derived)
        return self.grants[name]

    def _is_genuine(
        self, name: str, shown: admission_pb2.ApiKeyCredential, derived: DerivedKey | None
    ) -> bool:
        if derived is not None:
            return derived.is_signed_from(self.chain_keys[name])
        return self.digests.get(name, b"") == shown.secret_sha256

    async def fill(self, name: str, grant: admission_pb2.Grant, derived: DerivedKey | None = None) -> None:
        """Write a grant as identity does."""
        if await self.redis.exists(f"hold:{name}"):
            return
        cached: dict[Any, Any] = {
            "grant": grant.SerializeToString(),
            "requests_per_minute": grant.requests_per_minute,
            "secret": self.digests.get(name, b""),
        }
        if derived is not None:
            cached[b"derived:" + derived.digest] = b""
        await self.redis.hset(f"grant:{name}", mapping=cached)
        await self.redis.pexpire(f"grant:{name}", 60_000)

    async def revoke(self, name: str) -> None:
        """Take a credential away: the hold first, then the fact."""
        async with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.set(f"hold:{name}", 1, px=60_000)
            pipeline.delete(f"grant:{name}")
            await pipeline.execute()
        del self.grants[name]

    async def jwks(self, request: Message, context: RequestContext) -> HttpBody:
        """The public key, as identity publishes it."""
        raw = self.signing_key.public_key().public_bytes_raw()
        x = urlsafe_b64encode(raw).decode().rstrip("=")
        keys = [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1", "x": x}]
        return HttpBody(content_type="application/jwk-set+json", data=json.dumps({"keys": keys}).encode())

    def user(self, role: int = access_pb2.ROLE_MEMBER, **changes: Any) -> tuple[str, admission_pb2.Grant]:
        """A signed-in user of a new organization: an access token, and the grant of its session."""
        session_id = str(new_id())
        grant = _grant(Actor.KIND_USER, role=role, session_id=session_id, **changes)
        self.grants[f"session:{session_id}"] = grant
        return self.token(session_id), grant

    def api_key(self, *scopes: str, **changes: Any) -> tuple[str, admission_pb2.Grant]:
        """A live key of a new organization, and its grant."""
        key_id = new_id()
        text = ApiKey.mint(key_id)
        grant = _grant(Actor.KIND_API_KEY, actor_id=key_id, scopes=scopes, **changes)
        self.grants[f"key:{key_id}"] = grant
        self.digests[f"key:{key_id}"] = ApiKey.parse(text).secret_digest
        self.chain_keys[f"key:{key_id}"] = chain_key(text)
        return text, grant

    def token(self, session_id: str, *, key: Any = None, headers: Any = None, **changes: Any) -> str:
        """An access token, right unless a test changes something about it."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(uuid4()),
            "sid": session_id,
            "iat": now,
            "exp": now + 600,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(
            claims,
            key or self.signing_key,
            algorithm="EdDSA",
            headers={"kid": "k1", "typ": "at+jwt", **(headers or {})},
        )


def _grant(kind: Any, *, actor_id: UUID | None = None, **changes: Any) -> admission_pb2.Grant:
    return admission_pb2.Grant(
        **{
            "organization_id": str(new_id()),
            "actor": Actor(kind=kind, id=str(actor_id or new_id())),
            "requests_per_minute": 6000,
            **changes,
        }
    )


def stamp_keys() -> tuple[str, str]:
    """A private and a public stamp key, as settings hold them."""
    key = Ed25519PrivateKey.generate()
    return (
        b64encode(key.private_bytes_raw()).decode(),
        b64encode(key.public_key().public_bytes_raw()).decode(),
    )
