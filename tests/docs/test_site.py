"""The site of the documentation is whole: every page behind a door, no link to nowhere, nothing from elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.site.links import broken

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_leads_nowhere_that_is_not_there(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "docs.site", tmp_path)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ('<a href="there.html#here">', []),
        ('<a href="/there.html"><a href="#own"><p id="own">', []),
        ('<a href="https://example.com/anything"><a href="mailto:ada@example.com">', []),
        ('<a href="gone.html">', ["index.html leads to gone.html, which is not there"]),
        (
            '<a href="there.html#gone">',
            ["index.html leads to there.html#gone, and there is no such place on that page"],
        ),
        ('<img src="gone.png">', ["index.html leads to gone.png, which is not there"]),
        ('<script src="https://example.com/x.js">', ["index.html fetches https://example.com/x.js"]),
        ('<link rel="stylesheet" href="//example.com/x.css">', ["index.html fetches //example.com/x.css"]),
    ],
)
def test_a_link_to_nowhere_and_what_comes_from_elsewhere_are_found(
    tmp_path: Path, html: str, wrong: list[str]
) -> None:
    (tmp_path / "there.html").write_text('<p id="here">')
    (tmp_path / "index.html").write_text(html)
    assert list(broken(tmp_path)) == wrong
