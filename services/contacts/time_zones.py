"""By which clocks a contact lives: a name of the IANA time zone database, or nothing where that is not known."""

from functools import cache
from zoneinfo import available_timezones

# What a machine keeps beside the zones: its own, and that of one which nobody has set.
_NO_ZONES = frozenset(("Factory", "localtime"))


def parse_time_zone(text: str) -> str:
    """The name without white space around it; empty for none. Raises ValueError, with the end of a sentence, when there is no such zone."""
    name = text.strip()
    if name and name not in _zones():
        raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin")
    return name


@cache
def _zones() -> frozenset[str]:
    # Looked for in many files: once, and not as the module is loaded.
    return frozenset(available_timezones() - _NO_ZONES)
