"""A mailbox for the tests of this folder."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from deploy.local.mailbox.tests.harness import Mailbox, running


@pytest.fixture(scope="session")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    """One for all tests of a run; it gets its own bounces and complaints back."""
    with running(tmp_path_factory.mktemp("mailbox") / "mail.sqlite3") as mailbox:
        yield mailbox


@pytest.fixture
def address() -> str:
    """An address that no other test uses."""
    return f"reader-{uuid4().hex}@example.test"
