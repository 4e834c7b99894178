"""Which DMARC policy holds for a domain (RFC 9989, which replaces RFC 7489): its own, or that of the organization it belongs to."""

from services.sending.dns import Dns

# RFC 9989 §4.10: a tree walk asks no more than eight names; longer ones go on with their last seven labels.
_MOST_LABELS = 8
_POLICIES = {"none", "quarantine", "reject"}


async def policy_of(dns: Dns, domain: str) -> tuple[str, str] | None:
    """The name at which the policy was found and its record; None when there is none. Raises DnsUnavailable."""
    own = await _record_at(dns, domain)
    return (domain, own) if own is not None else await _policy_above(dns, domain)


async def _policy_above(dns: Dns, domain: str) -> tuple[str, str] | None:
    """RFC 9989 §4.10: the policy of the organization that a domain belongs to, else that of the registry above it."""
    found: tuple[str, str] | None = None
    below = domain
    for name in _walk(domain)[1:]:
        record = await _record_at(dns, name)
        if record is not None:
            told = tags(record).get("psd", "u").lower()
            if told == "n":
                return name, record
            if told == "y":
                # A registry: the organization is one label below it, and goes first if it says something.
                return found if found is not None and found[0] == below else (name, record)
            found = name, record
        below = name
    # The organization is the highest that says something.
    return found


def tags(record: str) -> dict[str, str]:
    """The tags of a record, their names in small letters (RFC 9989 §4.7)."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


def is_policy(record: str) -> bool:
    """Whether a record is one that a receiver goes by: its version comes first, and its policy, if it says one, is known."""
    return _is_dmarc(record) and tags(record).get("p", "none").lower() in _POLICIES


def _is_dmarc(record: str) -> bool:
    return record.partition(";")[0].replace(" ", "") == "v=DMARC1"


def _walk(domain: str) -> list[str]:
    labels = domain.split(".")
    names = [domain]
    rest = labels[1:] if len(labels) <= _MOST_LABELS else labels[-(_MOST_LABELS - 1) :]
    while rest:
        names.append(".".join(rest))
        rest = rest[1:]
    return names


async def _record_at(dns: Dns, name: str) -> str | None:
    records = [text for text in await dns.txt(f"_dmarc.{name}") if _is_dmarc(text)]
    # Of several none holds.
    return records[0] if len(records) == 1 and is_policy(records[0]) else None
