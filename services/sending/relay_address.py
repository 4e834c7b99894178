"""Where a relay is, as its URL says it."""

from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import unquote, urlsplit

from chassis.secret import Secret

_SMTP_PORT = 25
_SMTPS_PORT = 465


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where the relay is and as whom it knows us. A password never goes in the clear."""

    host: str
    port: int
    implicit_tls: bool
    user: str
    password: Secret
    # The address of ours that connections come from; the system's choice where it is empty.
    source: str = ""
    # Who runs it, where that is a provider that tells by posts what became of mail; empty for any other relay.
    provider: str = ""

    @classmethod
    def of(cls, url: Secret, source: str = "") -> Self:
        """Read `smtp://[user:password@]host[:port]`, or `smtps://` for implicit TLS. Raises ValueError, which does not show it."""
        try:
            parts = urlsplit(url.reveal())
            port = parts.port
        except ValueError:
            raise ValueError("is no URL") from None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("must be smtp://[user:password@]host[:port] or smtps://…")
        return cls(
            host=parts.hostname,
            port=port or (_SMTPS_PORT if parts.scheme == "smtps" else _SMTP_PORT),
            implicit_tls=parts.scheme == "smtps",
            user=unquote(parts.username or ""),
            password=Secret(unquote(parts.password or "")),
            source=source,
        )

    def run_by(self, provider: str) -> Self:
        """The same relay, which is this provider's."""
        return replace(self, provider=provider)

    def bound_to(self, source: str) -> Self:
        """The same relay, reached from this address of ours."""
        return replace(self, source=source)

    @property
    def place(self) -> str:
        """Host and port, which may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
