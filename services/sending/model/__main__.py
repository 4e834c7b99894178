"""`python -m services.sending.model`: search all of it, and print how much that was and what each rule is there for."""

import sys
from time import monotonic

from services.sending.model.case import Case
from services.sending.model.cases import AS_BUILT, WITHOUT
from services.sending.model.promises import NOTHING_IS_LOST, PROMISES
from services.sending.model.search import Explored, Search


def main() -> int:
    """Exit code 1 when a promise is broken as it is built, or a rule is not missed."""
    say("As it is built:")
    built = [search(f"  {name}", case) for name, case in AS_BUILT.items()]
    states, steps = sum(found.states for found in built), sum(found.steps for found in built)
    say(f"  together: {states:,} states, {steps:,} steps. In all of them:")
    for promise in (*PROMISES, NOTHING_IS_LOST):
        say(f"    {promise}")
    say("\nWithout one of its rules:")
    without = {f"  without {name}": case for name, case in WITHOUT.items()}
    found = [search(name, case) for name, case in without.items()]
    kept = all(each.broken is None for each in built)
    return 0 if kept and all(each.broken for each in found) else 1


def search(name: str, case: Case) -> Explored:
    """Search one case and print it, with its counterexample if there is one."""
    begun = monotonic()
    found = Search(case).run()
    say(f"{name}: {found.states:,} states, {found.steps:,} steps, {monotonic() - begun:.1f} s")
    if found.broken:
        say(f"    breaks: {found.broken}")
        for number, action in enumerate(found.trace, 1):
            say(f"    {number:>2}. {action}")
    return found


def say(line: str) -> None:
    """Print at once: a search takes its time."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
