"""What the documents say is there: the tests that they name as proofs."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from services.identity.plans import Plan, entitlements

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/README.md")]
NAMED_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The names of the functions at the top of a file; none when there is no such file."""
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    named = NAMED_TEST.findall(document.read_text())
    missing = [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)]
    assert missing == []


def test_a_test_that_does_not_exist_is_noticed() -> None:
    here = Path(__file__)
    assert "test_a_test_that_does_not_exist_is_noticed" in functions_of(here)
    assert "test_of_nothing" not in functions_of(here)
    assert functions_of(here / "nowhere.py") == frozenset()


def test_the_page_of_plans_says_what_the_plans_allow() -> None:
    page = (ROOT / "docs/plans.md").read_text()
    for plan in Plan:
        allowed = entitlements(plan)
        numbers = (
            allowed.contacts,
            allowed.emails_per_cycle,
            allowed.members,
            allowed.webhook_endpoints,
            allowed.ai_tokens_per_cycle,
            allowed.requests_per_minute,
            allowed.event_retention_days,
        )
        features = ", ".join(f"`{feature}`" for feature in sorted(allowed.features)) or "none"
        assert f"| `{plan}` | {' | '.join(f'{number:,}' for number in numbers)} | {features} |" in page


# OWASP ASVS 5.0: the requirements of levels 1 and 2 in the chapters about API, authentication, sessions, access control
# and self-contained tokens.
ASVS = {
    "4.1": (1, 2, 3),
    "4.2": (1,),
    "4.3": (1, 2),
    "4.4": (1, 2, 3, 4),
    "6.1": (1, 2, 3),
    "6.2": tuple(range(1, 13)),
    "6.3": (1, 2, 3, 4),
    "6.4": (1, 2, 3, 4),
    "6.5": (1, 2, 3, 4, 5),
    "6.6": (1, 2, 3),
    "6.8": (1, 2, 3, 4),
    "7.1": (1, 2, 3),
    "7.2": (1, 2, 3, 4),
    "7.3": (1, 2),
    "7.4": (1, 2, 3, 4, 5),
    "7.5": (1, 2),
    "7.6": (1, 2),
    "8.1": (1, 2),
    "8.2": (1, 2, 3),
    "8.3": (1,),
    "8.4": (1,),
    "9.1": (1, 2, 3),
    "9.2": (1, 2, 3, 4),
}
ASVS_ROW = re.compile(r"\| (\d+\.\d+\.\d+) \| [12] \| [^|]+ \| (.+) \|")


def test_every_requirement_of_the_asvs_has_a_test_or_a_reason() -> None:
    rows = dict(ASVS_ROW.findall((ROOT / "docs/asvs.md").read_text()))
    assert rows.keys() == {f"{section}.{number}" for section, numbers in ASVS.items() for number in numbers}
    # A reason is a sentence or a page that says it.
    assert all(NAMED_TEST.search(shown) or len(shown) > 20 for shown in rows.values())
