"""The OAuth part of a CRM, strict where they are: PKCE, one use of each code, redirect URI, rotation, revocation."""

import secrets
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

CLIENT_ID = "app 1"
CLIENT_SECRET = "s3cret/of:the=app"


@dataclass
class Grants:
    """What was consented to and given out. `extra` stands in every answer with tokens."""

    extra: dict[str, Any]
    is_basic: bool
    rotates: bool
    expires_in: int | None = 1800
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    access_tokens: set[str] = field(default_factory=set)
    revoked: list[str] = field(default_factory=list)
    # Every token request, as a log of theirs would show it: URL and all.
    urls: list[str] = field(default_factory=list)
    failures: list[Response] = field(default_factory=list)

    async def authorize(self, request: Request) -> Response:
        """Somebody consents at once."""
        asked = request.query_params
        if asked["client_id"] != CLIENT_ID or asked["code_challenge_method"] != "S256":
            return JSONResponse({"error": "invalid_request"}, 400)
        code = secrets.token_urlsafe(16)
        self.codes[code] = (asked["code_challenge"], asked["redirect_uri"])
        return RedirectResponse(
            f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        )

    async def token(self, request: Request) -> Response:
        self.urls.append(str(request.url))
        if self.failures:
            return self.failures.pop(0)
        form = dict(parse_qsl((await request.body()).decode()))
        if not self._is_app(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        if form["grant_type"] == "authorization_code":
            return self._for_code(form)
        if form["refresh_token"] not in self.refresh_tokens:
            description = f"refresh token {form['refresh_token']} is invalid, expired or revoked"
            return JSONResponse({"error": "invalid_grant", "error_description": description}, 400)
        return self.granted(form["refresh_token"])

    def _for_code(self, form: dict[str, str]) -> Response:
        challenge, redirect_uri = self.codes.pop(form["code"], ("", ""))
        proof = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if proof != challenge or form["redirect_uri"] != redirect_uri:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return self.granted()

    def granted(self, before: str = "") -> Response:
        refresh = before
        if self.rotates or not before:
            self.refresh_tokens.discard(before)
            refresh = f"refresh-{secrets.token_hex(8)}"
            self.refresh_tokens.add(refresh)
        given = {"access_token": self.access_token(), "token_type": "bearer", **self.extra}
        if self.expires_in is not None:
            given["expires_in"] = self.expires_in
        return JSONResponse(given | ({"refresh_token": refresh} if refresh != before else {}))

    async def revoke(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if not self._is_app(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        if form["token"] not in self.refresh_tokens:
            return JSONResponse({"error": "invalid_token"}, 400)
        self.refresh_tokens.discard(form["token"])
        self.access_tokens.clear()
        self.revoked.append(form["token"])
        return Response(status_code=200)

    def access_token(self) -> str:
        token = f"access-{secrets.token_hex(8)}"
        self.access_tokens.add(token)
        return token

    def expire(self) -> None:
        """All access tokens that were given."""
        self.access_tokens.clear()

    def is_good(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and token in self.access_tokens

    def _is_app(self, request: Request, form: dict[str, str]) -> bool:
        shown = (form.get("client_id", ""), form.get("client_secret", ""))
        if self.is_basic:
            scheme, _, pair = request.headers.get("authorization", "").partition(" ")
            name, _, secret = b64decode(pair).decode().partition(":")
            shown = (unquote(name), unquote(secret)) if scheme == "Basic" else ("", "")
        return shown == (CLIENT_ID, CLIENT_SECRET)


def code_of(location: str) -> tuple[str, str]:
    """Code and state of the URL that somebody was sent back to."""
    answered = dict(parse_qsl(urlsplit(location).query))
    return answered["code"], answered["state"]
