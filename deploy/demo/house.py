"""Where the running house is: what `make up` wrote down about it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

_ROOT = Path(__file__).parents[2]


class HouseNotUp(Exception):
    """There is no running house to show; the message says what to do."""


@dataclass(frozen=True, slots=True)
class House:
    """The addresses of a running house."""

    gateway_url: str
    mail_url: str
    super_admin_email: str
    run_file: Path


def state_folder() -> Path:
    """The folder that holds the state of the local runtime: FLOWNURTURE_VAR, or `var` beside the sources."""
    return Path(os.environ.get("FLOWNURTURE_VAR") or _ROOT / "var")


def find_house() -> House:
    """Read var/run/local.json and ask both addresses whether they are ready; raises HouseNotUp."""
    run_file = state_folder() / "run" / "local.json"
    try:
        run = json.loads(run_file.read_text("utf-8"))
        house = House(run["gateway_url"], run["mail_url"], run["super_admin"]["email"], run_file)
    except FileNotFoundError:
        raise HouseNotUp(f"The house is not up ({run_file} is missing). Start it with `make up`.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HouseNotUp(
            f"{run_file} cannot be read ({error!r}). Start the house again with `make up`."
        ) from None
    for url in (house.gateway_url, house.mail_url):
        _require_ready(url)
    return house


def _require_ready(url: str) -> None:
    try:
        status = httpx.get(f"{url}/readyz", timeout=10).status_code
    except httpx.HTTPError as error:
        raise HouseNotUp(
            f"Nothing answers at {url} ({error}). See `make status`; start the house with `make up`."
        ) from None
    if status != 200:
        raise HouseNotUp(f"{url} is not ready ({status}). See `make status` and `make logs`.")
