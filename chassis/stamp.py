"""Signed request contexts: how one process proves to another on whose behalf it calls.

A stamp is a `SignedContext` of the contract: Ed25519 (RFC 8032) over the bytes of a `RequestContext` that names
its one audience and ends within a minute. Making and checking one costs some 100 µs of elliptic curves, so both
sides remember: a stamp is used again while it has half of its life left, and a verified one is known by its bytes.
"""

import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.access import GATEWAY
from chassis.errors import Unauthenticated
from chassis.secret import Secret
from flownurture.context.v1 import context_pb2 as pb

STAMP_METADATA = "flownurture-context-bin"

LIFETIME = 60.0  # seconds
_REUSE = LIFETIME / 2
# For how long after it was made a stamp of the gateway lets a process call others for the client: as long as any request takes.
DELEGATION = 240.0
_CLOCK_SKEW = 5.0  # how far ahead another machine's clock may be
_REMEMBERED = 8192

Clock = Callable[[], float]


class Stamper:
    """Makes the stamps of one process."""

    def __init__(self, process: str, private_key: Secret, clock: Clock = time.time) -> None:
        self._process = process
        self._key = Ed25519PrivateKey.from_private_bytes(b64decode(private_key.reveal(), validate=True))
        self._clock = clock
        self._made: dict[tuple[object, ...], tuple[float, bytes]] = {}

    def stamp(self, context: RequestContext, audience: str) -> bytes:
        """A serialized SignedContext that `audience` alone will accept, good for 30 to 60 seconds."""
        who = (
            audience,
            context.actor_kind,
            context.actor_id,
            context.session_id,
            context.organization_id,
            context.role,
            context.scopes,
            context.features,
            context.organization_suspended,
            context.limits,
            context.cycle_started_at,
            context.client_address,
            context.user_agent,
            context.head_only,
        )
        now = self._clock()
        made = self._made.get(who)
        if made is not None and now < made[0] + _REUSE:
            return made[1]
        stamp = self._sign(context, audience, now)
        self._made.pop(who, None)
        _make_room(self._made)
        self._made[who] = (now, stamp)
        return stamp

    def delegated_stamp(self, context: RequestContext, audience: str) -> bytes:
        """A serialized SignedContext by which this process calls `audience` for the client whose call reached it.

        It says nothing of the client itself, and so nothing that the gateway has not said. Raises Unauthenticated for a context that did not come from
        the gateway straight to this process.
        """
        if not context.stamp or context.delegate:
            raise Unauthenticated("This call was not made by a client.")
        return self._signed(
            pb.RequestContext(
                issuer=self._process,
                audience=audience,
                expires_at_ms=int((self._clock() + LIFETIME) * 1000),
                on_behalf_of=context.stamp,
            )
        )

    def _sign(self, context: RequestContext, audience: str, now: float) -> bytes:
        content = pb.RequestContext(
            issuer=self._process,
            audience=audience,
            expires_at_ms=int((now + LIFETIME) * 1000),
            organization_id="" if context.organization_id is None else str(context.organization_id),
            actor=pb.Actor(kind=pb.Actor.Kind.ValueType(context.actor_kind.value), id=context.actor_id),
            role=context.role.value,  # type: ignore[arg-type]  # the numbers are the contract's
            scopes=sorted(context.scopes),
            features=sorted(context.features),
            session_id=context.session_id,
            organization_suspended=context.organization_suspended,
            limits=dict(context.limits),
            cycle_started_at_ms=_milliseconds(context.cycle_started_at),
            client_address=context.client_address,
            user_agent=context.user_agent,
            head_only=context.head_only,
        )
        return self._signed(content)

    def _signed(self, content: pb.RequestContext) -> bytes:
        data = content.SerializeToString()
        return pb.SignedContext(context=data, signature=self._key.sign(data)).SerializeToString()


class StampVerifier:
    """Checks the stamps that reach one process, its `audience`, against the public keys it trusts."""

    def __init__(self, audience: str, trusted: Mapping[str, str], clock: Clock = time.time) -> None:
        self._audience = audience
        self._keys = {
            issuer: Ed25519PublicKey.from_public_bytes(b64decode(key, validate=True))
            for issuer, key in trusted.items()
        }
        self._clock = clock
        self._verified: dict[bytes, tuple[float, RequestContext]] = {}

    def verify(
        self, stamp: bytes, request_id: str = "", idempotency_key: str | None = None
    ) -> RequestContext:
        """The context that was stamped. Raises Unauthenticated for anything that is not a live stamp for us."""
        now = self._clock()
        known = self._verified.get(stamp)
        if known is None or known[0] <= now:
            known = self._check(stamp, now)
            self._verified.pop(stamp, None)
            _make_room(self._verified)
            self._verified[stamp] = known
        return replace(known[1], request_id=request_id, idempotency_key=idempotency_key)

    def _check(self, stamp: bytes, now: float) -> tuple[float, RequestContext]:
        content = self._read(stamp)
        if content.audience != self._audience:
            raise Unauthenticated("The request context was made for another process.")
        expires_at = _expiry(content, now)
        if expires_at <= now:
            raise Unauthenticated("The request context has expired.")
        if content.on_behalf_of:
            return expires_at, self._delegated(content, now)
        return expires_at, replace(_context_of(content), stamp=stamp if content.issuer == GATEWAY else b"")

    def _delegated(self, content: pb.RequestContext, now: float) -> RequestContext:
        """The context of the client for whom the issuer calls, as the gateway stamped it for that very issuer."""
        proof = self._read(content.on_behalf_of)
        if proof.issuer != GATEWAY or proof.audience != content.issuer or proof.on_behalf_of:
            raise Unauthenticated("The request context does not show a client's call.")
        if _expiry(proof, now) <= now - (DELEGATION - LIFETIME):
            raise Unauthenticated("The client's call was too long ago.")
        said = {field.name for field, _ in content.ListFields()}
        if said - {"issuer", "audience", "expires_at_ms", "on_behalf_of"}:
            raise Unauthenticated("The request context says of a client what the gateway alone can say.")
        return replace(_context_of(proof), delegate=content.issuer)

    def _read(self, stamp: bytes) -> pb.RequestContext:
        """What it says, signed by who is said to have issued it. Raises Unauthenticated."""
        try:
            signed = pb.SignedContext.FromString(stamp)
            content = pb.RequestContext.FromString(signed.context)
            # The issuer is only a claim until the key of that very issuer has confirmed it.
            self._keys[content.issuer].verify(signed.signature, signed.context)
        except (DecodeError, KeyError, InvalidSignature):
            raise Unauthenticated("The request context is not signed by a process that is trusted.") from None
        return content


def _expiry(content: pb.RequestContext, now: float) -> float:
    """When it ends, in Unix seconds. Raises Unauthenticated for one that lives longer than any does."""
    expires_at = content.expires_at_ms / 1000
    if expires_at > now + LIFETIME + _CLOCK_SKEW:
        raise Unauthenticated("The request context would live too long.")
    return expires_at


def _context_of(content: pb.RequestContext) -> RequestContext:
    try:
        return RequestContext(
            issuer=content.issuer,
            actor_kind=ActorKind(content.actor.kind),
            actor_id=content.actor.id,
            role=Role(content.role),
            scopes=frozenset(content.scopes),
            features=frozenset(content.features),
            organization_id=UUID(content.organization_id) if content.organization_id else None,
            session_id=content.session_id,
            organization_suspended=content.organization_suspended,
            limits=tuple(sorted(content.limits.items())),
            cycle_started_at=_moment(content.cycle_started_at_ms),
            client_address=content.client_address,
            user_agent=content.user_agent,
            head_only=content.head_only,
        )
    except (ValueError, OverflowError):
        raise Unauthenticated("The request context is not well-formed.") from None


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else round(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget the oldest entry when there are too many; dictionaries keep the order of insertion."""
    if len(remembered) >= _REMEMBERED:
        del remembered[next(iter(remembered))]
