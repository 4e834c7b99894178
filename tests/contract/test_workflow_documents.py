"""The workflow that docs/workflows.md shows is one: the public edge reads it, it keeps to the bounds, and it is valid."""

import json
from pathlib import Path
from typing import Any

from chassis.contract.bounds import violations as out_of_bounds
from chassis.contract.json_decoding import decoder
from chassis.contract.json_encoding import encoder
from chassis.errors import FieldViolation
from flownurture.sending.v1.workflows_pb2 import WorkflowDocument
from services.sending.workflows.validation import violations

DOCS = Path(__file__).parents[2] / "docs/workflows.md"


def shown() -> dict[str, Any]:
    example: dict[str, Any] = json.loads(DOCS.read_text().split("```json\n")[1].split("```")[0])
    return example


def read(written: dict[str, Any]) -> tuple[WorkflowDocument, list[FieldViolation]]:
    document, found = WorkflowDocument(), list[FieldViolation]()
    decoder(WorkflowDocument.DESCRIPTOR)(document, written, "", found)
    return document, found


def test_the_example_is_read_and_is_valid() -> None:
    document, found = read(shown())
    assert found == out_of_bounds(document) == violations(document) == []


def test_a_document_is_answered_as_it_was_written() -> None:
    document, _ = read(shown())
    assert encoder(WorkflowDocument.DESCRIPTOR)(document) == shown()


def test_a_step_that_does_two_things_is_refused() -> None:
    written = shown()
    written["steps"][0]["exit"] = {}
    _, found = read(written)
    assert found == [FieldViolation("steps[0].exit", "may not be given together with send_email")]
