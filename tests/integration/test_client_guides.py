"""The guides for API clients are right: every request in them is made, and answered as they say."""

import shutil
from pathlib import Path

import pytest

from tests.docs.walk import Walk
from tests.integration.house import House

GUIDES = Path(__file__).parents[2] / "docs/clients"
QUICK_START = GUIDES / "quick-start.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guides call with curl, which is not here")
@pytest.mark.parametrize("guide", sorted(GUIDES.glob("*.md")), ids=lambda page: page.stem)
def test_a_client_who_follows_the_guide_is_answered_as_it_says(
    house: House, tmp_path: Path, guide: Path
) -> None:
    with Walk(tmp_path, {"API": house.gateway_url}) as walk:
        # By it every guide has an organization and a key.
        walk.follow(QUICK_START)
        if guide != QUICK_START:
            walk.follow(guide)
