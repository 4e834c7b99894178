"""How a command ends, for scripts."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the operating system is told."""

    DONE = 0
    # What was looked at is not as it should be.
    FOUND_WRONG = 1
    # An argument or a variable is missing or wrong.
    USAGE = 2
    # Nothing was done, and doing it again does nothing either: the answer is no.
    REFUSED = 3
    # Something did not answer; the same command may work later.
    UNAVAILABLE = 4
