"""The scopes an API key can be given: one resource, read or write.

`write` does not imply `read`: a key holds exactly the scopes it was created with.
"""

from collections.abc import Sequence

from chassis.errors import FieldViolation, InvalidRequest

RESOURCES = (
    "contacts",
    "forms",
    "segments",
    "templates",
    "campaigns",
    "messages",
    "workflows",
    "suppressions",
    "domains",
    "analytics",
    "webhooks",
    "integrations",
    "ai",
)
SCOPES = frozenset(f"{resource}:{verb}" for resource in RESOURCES for verb in ("read", "write"))


def parse_scopes(scopes: Sequence[str]) -> list[str]:
    """The scopes, sorted; InvalidRequest names every element that is unknown or repeated."""
    violations = [
        FieldViolation(f"scopes[{index}]", message)
        for index, scope in enumerate(scopes)
        if (message := _objection(scope, scopes[:index]))
    ]
    if violations:
        raise InvalidRequest(*violations)
    return sorted(scopes)


def _objection(scope: str, earlier: Sequence[str]) -> str | None:
    if scope not in SCOPES:
        resource, _, verb = scope.partition(":")
        known = verb in ("read", "write")
        return f"there is no resource {resource!r}" if known else "is not <resource>:read or <resource>:write"
    return "is given twice" if scope in earlier else None
