"""Authenticate, admit, authorize: what stands between a request and everything behind the gateway."""

from dataclasses import replace

from chassis.context import RequestContext
from chassis.contract.access import AccessRule, Audience
from chassis.errors import RateLimited, Unauthenticated
from gateway.admission import Admission
from gateway.credentials import Authenticator
from gateway.exchange import Exchange
from gateway.principals import ANONYMOUS, Principals

_WHERE_SESSIONS_BEGIN = (Audience.PUBLIC, Audience.ACCOUNT)


class Gate:
    """Lets a request through with a context, or raises why not."""

    def __init__(self, authenticator: Authenticator, admission: Admission, *, proxies: int = 0) -> None:
        self._authenticator = authenticator
        self._proxies = proxies
        self._admission = admission
        self._principals = Principals()

    async def pass_through(self, exchange: Exchange, access: AccessRule) -> RequestContext:
        """The context in which the request may make a call that is ruled by `access`."""
        if access.audience is Audience.PUBLIC:
            context = ANONYMOUS
        else:
            context = await self._admitted(exchange)
            access.check(context)
        return replace(
            context,
            request_id=exchange.request_id,
            idempotency_key=exchange.idempotency_key(),
            client_address=exchange.client_address(self._proxies),
            user_agent=exchange.user_agent() if access.audience in _WHERE_SESSIONS_BEGIN else "",
            head_only=exchange.scope.method == "HEAD",
        )

    async def _admitted(self, exchange: Exchange) -> RequestContext:
        credential = await self._authenticator.authenticate(exchange.header("authorization"))
        grant, rate = await self._admission.admit(credential)
        if rate is not None:
            exchange.headers += rate.headers()
            if not rate.allowed:
                raise RateLimited(
                    f"At most {rate.limit:,} requests a minute with one credential.", rate.seconds
                )
        principal = self._principals.of(grant)
        if principal is None:
            raise Unauthenticated
        if credential.narrowed_to is None:
            return principal.context
        return replace(principal.context, scopes=principal.context.scopes & credential.narrowed_to)
