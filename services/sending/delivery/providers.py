"""Who runs the mailbox of a recipient, by the domain of its address."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources


def provider_of(domain: str) -> str:
    """The provider of a domain in ASCII: the name of one that many domains have, else the domain itself."""
    domain = domain.lower()
    return _well_known().get(domain, domain)


def is_well_known(provider: str) -> bool:
    """Whether it is one of the list, and not a domain."""
    return provider in _names()


@cache
def _names() -> frozenset[str]:
    return frozenset(_well_known().values())


@cache
def _well_known() -> Mapping[str, str]:
    listed = tomllib.loads(resources.files(__package__).joinpath("providers.toml").read_text("utf-8"))
    return {domain: name for name, provider in listed.items() for domain in provider["domains"]}
