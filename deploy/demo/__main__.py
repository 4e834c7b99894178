"""`python -m deploy.demo`: the platform's promise, played through on a running house and checked number by number.

It uses nothing but the public API and the inbox, may be run again and again, and exits non-zero on any difference.
"""

import argparse
import asyncio
import sys
from time import monotonic

from deploy.demo import report
from deploy.demo.checks import Ledger
from deploy.demo.house import HouseNotUp, find_house, state_folder
from deploy.demo.screen import Screen
from deploy.demo.story import tell


def main() -> int:
    """Play the story; 0 when everything was as promised, 1 when something was not, 2 when the house is not up."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument(
        "--house-ends",
        action="store_true",
        help="The house ends with the demo: nobody is told to look around.",
    )
    house_ends = parser.parse_args().house_ends
    screen, ledger = Screen(), Ledger()
    try:
        house = find_house()
    except HouseNotUp as not_up:
        print(not_up, file=sys.stderr)
        return 2
    began = monotonic()
    scene = asyncio.run(tell(house, screen, ledger))
    seconds = monotonic() - began
    path = state_folder() / "demo" / "report.json"
    report.write(path, ledger, seconds=seconds, house=house)
    report.show(screen.console, ledger)
    if not house_ends:
        report.say_where_to_look(screen.console, house, scene.organizations)
    failed = sum(not check.passed for check in ledger.checks)
    outcome = (
        f"{failed} of {len(ledger.checks)} checks failed"
        if failed
        else f"All {len(ledger.checks)} checks hold"
    )
    screen.console.print(f"{outcome}, in {seconds:.1f} s. Details: {path}", soft_wrap=True)
    return 0 if ledger.passed else 1


if __name__ == "__main__":
    sys.exit(main())
