"""What people and lists may be called."""

import re

MAX_LENGTH = 200

# C0 and C1 controls (a NUL cannot be stored, a line break would end a mail header) and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def parse_name(text: str) -> str:
    """The name without white space around it. Raises ValueError, with the end of a sentence, when it is none."""
    name = text.strip()
    if len(name) > MAX_LENGTH:
        raise ValueError(f"may have at most {MAX_LENGTH} characters")
    if _UNPRINTABLE.search(name):
        raise ValueError("may not hold control characters")
    return name
