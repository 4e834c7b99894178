"""Types of events: named by the contract, subscribed to alone, by group or all, each with an example."""

import pytest

from chassis.errors import InvalidRequest
from flownurture.options.v1 import webhook_pb2
from services.webhooks.event_types import (
    EVENT_TYPES,
    VERSIONS,
    check_patterns,
    example,
    matches,
)

PUBLISHED = """
contact.created contact.updated contact.deleted contact.subscribed contact.unsubscribed form.submitted
email.sent email.delivered email.opened email.clicked email.bounced email.complained email.vetoed
campaign.launched campaign.completed workflow.enrolled workflow.completed integration.synced integration.failed
"""


def test_every_published_type_is_there() -> None:
    assert set(PUBLISHED.split()) <= set(EVENT_TYPES)


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_type_is_described_and_belongs_to_a_known_version(name: str) -> None:
    known = EVENT_TYPES[name]
    assert known.description.endswith(".")
    assert known.name == name
    assert name.startswith(f"{known.group}.")
    assert known.message.GetOptions().Extensions[webhook_pb2.webhook].since in VERSIONS


def test_no_two_payloads_have_one_type() -> None:
    messages = [known.message.full_name for known in EVENT_TYPES.values()]
    stated = [
        message.full_name
        for message in next(iter(EVENT_TYPES.values())).message.file.message_types_by_name.values()
        if message.GetOptions().HasExtension(webhook_pb2.webhook)
    ]
    assert messages == stated


@pytest.mark.parametrize(
    ("patterns", "taken"),
    [
        (["*"], True),
        (["contact.*"], True),
        (["email.*", "contact.created"], True),
        (["contact.updated"], False),
        (["email.*"], False),
        ([], False),
    ],
)
def test_a_type_is_taken_by_its_name_by_its_group_or_by_all(patterns: list[str], taken: bool) -> None:
    assert matches(patterns, "contact.created") is taken


def test_a_group_is_not_the_beginning_of_a_name() -> None:
    assert not matches(["webhook.*"], "webhook_endpoint.disabled")


def test_patterns_that_stand_for_nothing_are_named() -> None:
    check_patterns(["*", "contact.*", "email.sent"])
    with pytest.raises(InvalidRequest) as refused:
        check_patterns(["contact.created", "contact", "*.created", "contact.cre*", "Contact.created", ""])
    assert [violation.field for violation in refused.value.violations] == [
        f"event_types[{index}]" for index in range(1, 6)
    ]


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_an_example_has_every_field_and_is_always_the_same(name: str) -> None:
    made = example(name)
    assert set(made) == {field.name for field in EVENT_TYPES[name].message.fields}
    assert made == example(name)
    assert None not in made.values()


def test_the_contact_of_an_example_is_what_the_event_says_of_it() -> None:
    assert example("contact.subscribed")["contact"]["status"] == "subscribed"
    assert example("contact.unsubscribed")["contact"]["status"] == "unsubscribed"
