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
            allowed.requests_per_minute,
        )
        features = ", ".join(f"`{feature}`" for feature in sorted(allowed.features)) or "none"
        assert f"| `{plan}` | {' | '.join(f'{number:,}' for number in numbers)} | {features} |" in page
