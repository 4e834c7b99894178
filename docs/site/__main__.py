"""Builds the site: `python -m docs.site <folder>`, without a network.

Its pages are the Markdown of the repository, where it stands; `index.md` and the three doors beside it say what is where. A warning fails, and so does a
page behind no door, a link to nowhere, and whatever a browser would have to fetch from elsewhere.
"""

import json
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.site.links import broken
from gateway.documentation import html_page
from gateway.endpoints import public_endpoints
from gateway.openapi import openapi

ROOT = Path(__file__).parents[2]
API_URL = "https://api.example.com"
DOOR = '<!doctype html><meta http-equiv="refresh" content="0; url=docs/site/index.html"><title>FlowNurture</title>'


def build(target: Path) -> int:
    """Build the site into a folder; 0 when all of it is well."""
    told = ("--builder", "html", "--fail-on-warning", "--keep-going", "--quiet", "--nitpicky")
    built = build_main([*told, "--conf-dir", str(Path(__file__).parent), str(ROOT), str(target)])
    document = openapi(public_endpoints(), API_URL)
    (target / "openapi.json").write_text(json.dumps(document))
    (target / "api.html").write_text(html_page(document))
    (target / "index.html").write_text(DOOR)
    wrong = sorted(broken(target))
    for each in wrong:
        print(each)
    return built or bool(wrong)


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve()))
