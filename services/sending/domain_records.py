"""The DNS records by which a domain says that its mail may come from here, and whether they are there."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.sending import dmarc
from services.sending.dns import Dns

_KEY_DATA = re.compile(r"\s+")


class Purpose(StrEnum):
    """What a record is for."""

    DKIM = "dkim"
    SPF = "spf"
    DMARC = "dmarc"
    RETURN_PATH = "return_path"


class State(StrEnum):
    """What is known of a record."""

    UNCHECKED = "unchecked"
    FOUND = "found"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Record:
    """A record to publish."""

    purpose: Purpose
    type: str
    name: str
    value: str
    needed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the DNS says of a record."""

    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """The names that tenants' records lead to: of the return path, and of who may send."""

    mail_hostname: str
    spf_host: str


def return_path(domain: str) -> str:
    """Where bounces of a domain's mail go."""
    return f"bounce.{domain}"


def fixed_records(domain: str, platform: Platform) -> list[Record]:
    """The records of a domain beside those of its keys."""
    return [
        Record(Purpose.RETURN_PATH, "CNAME", return_path(domain), platform.mail_hostname),
        Record(Purpose.SPF, "TXT", domain, f"v=spf1 include:{platform.spf_host} ~all"),
        Record(Purpose.DMARC, "TXT", f"_dmarc.{domain}", "v=DMARC1; p=none"),
    ]


async def look_up(dns: Dns, domain: str, records: Sequence[Record], platform: Platform) -> list[Finding]:
    """What is found of each of the records. Raises DnsUnavailable, and then nothing is known of any."""
    return list(await asyncio.gather(*(_look_up(dns, domain, record, platform) for record in records)))


async def _look_up(dns: Dns, domain: str, record: Record, platform: Platform) -> Finding:
    match record.purpose:
        case Purpose.DKIM:
            return _judge_key(record, await dns.txt(record.name))
        case Purpose.SPF:
            return _judge_spf(platform.spf_host, await dns.txt(domain))
        case Purpose.DMARC:
            return _judge_dmarc(await dmarc.policy_of(dns, domain), domain)
        case Purpose.RETURN_PATH:
            return _judge_return_path(record, await dns.cname(record.name))


def _judge_key(record: Record, found: Sequence[str]) -> Finding:
    """RFC 6376 §3.6.1; white space within the key does not count."""
    keys = [text for text in found if "p=" in text]
    if not keys:
        return Finding(State.MISSING, "there is no TXT record with a key at this name")
    wanted = dmarc.tags(record.value)
    for text in keys:
        tags = dmarc.tags(text)
        if _KEY_DATA.sub("", tags.get("p", "")) == wanted["p"] and tags.get("k", "rsa") == wanted["k"]:
            return Finding(State.FOUND)
    return Finding(State.WRONG, "another key is published at this name")


def _judge_spf(host: str, found: Sequence[str]) -> Finding:
    """RFC 7208 §4.5: of two records none holds."""
    policies = [
        text.split() for text in found if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")
    ]
    if not policies:
        return Finding(State.MISSING, "there is no TXT record that begins with v=spf1")
    if len(policies) > 1:
        return Finding(
            State.WRONG, "there are several records that begin with v=spf1, so that none of them counts"
        )
    includes = {term.lower().lstrip("+") for term in policies[0]}
    if f"include:{host}" not in includes:
        return Finding(State.WRONG, f"the record does not say include:{host}")
    return Finding(State.FOUND)


def _judge_dmarc(found: tuple[str, str] | None, domain: str) -> Finding:
    if found is None:
        return Finding(State.MISSING, "neither the domain nor one above it says a DMARC policy")
    name, _ = found
    return Finding(State.FOUND, "" if name == domain else f"by the policy of {name}")


def _judge_return_path(record: Record, found: str | None) -> Finding:
    if found is None:
        return Finding(State.MISSING, "there is no CNAME record at this name")
    if found != record.value.lower():
        return Finding(State.WRONG, f"it leads to {found}")
    return Finding(State.FOUND)
