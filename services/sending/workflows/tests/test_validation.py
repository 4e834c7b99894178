"""A document that passes can be run to its end, and whoever wrote one that does not is told where and why."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.contract.bounds import violations as out_of_bounds
from flownurture.contacts.v1.segments_pb2 import (
    CONTACT_FIELD_CREATED_AT,
    CONTACT_FIELD_STATUS,
    CONTACT_FIELD_UPDATED_AT,
)
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.references import Named, Reference, references, rules
from services.sending.workflows.tests.drafts import (
    FORM,
    LIST,
    MAIL,
    OTHER,
    RULE,
    TAG,
    TWO_DAYS,
    branch,
    document,
    go_to,
    leave,
    mail,
    onward,
    reachable,
    split,
    step,
    valid_documents,
    wait,
    wait_for,
)
from services.sending.workflows.validation import violations

# Of these documents each shows what is looked for.
FEW = settings(max_examples=25)


def wrong(written: pb.WorkflowDocument) -> dict[str, str]:
    """What is wrong, by field."""
    return {violation.field: violation.message for violation in violations(written)}


def rounds_without_a_wait(steps: Sequence[pb.WorkflowStep]) -> bool:
    """Whether some walk comes to where it was without a wait, found by walking every way there is."""

    def walk(index: int, walked: frozenset[int]) -> bool:
        if index in walked:
            return True
        if index >= len(steps) or steps[index].HasField("wait"):
            return False
        return any(walk(to, walked | {index}) for to in onward(steps, index))

    return any(walk(index, frozenset()) for index in range(len(steps)))


def leads_nowhere(steps: Sequence[pb.WorkflowStep]) -> bool:
    return any(len(steps) in onward(steps, index) for index in range(len(steps)))


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
ANY_STEP: Sequence[Callable[[str], st.SearchStrategy[pb.WorkflowStep]]] = (
    lambda name: st.just(mail(name)),
    lambda name: st.just(wait(name)),
    lambda name: NAMES.map(lambda to: wait_for(name, otherwise=to)),
    lambda name: NAMES.map(lambda to: go_to(name, to)),
    lambda name: st.just(leave(name)),
    lambda name: st.tuples(NAMES, NAMES | st.just("")).map(lambda to: branch(name, to[0], otherwise=to[1])),
    lambda name: st.tuples(NAMES, NAMES).map(lambda to: split(name, [(40, to[0]), (60, to[1])])),
)


@st.composite
def any_steps(draw: st.DrawFn) -> list[pb.WorkflowStep]:
    """Up to five steps that lead anywhere."""
    names = "abcde"[: draw(st.integers(1, 5))]
    return [draw(draw(st.sampled_from(ANY_STEP))(name)) for name in names]


@given(any_steps())
def test_a_document_passes_if_and_only_if_each_walk_through_it_comes_to_an_end_or_a_wait(
    steps: list[pb.WorkflowStep],
) -> None:
    unknown = any(to not in {each.id for each in steps} for each in steps for to in names_in(each))
    sound = not (
        unknown or rounds_without_a_wait(steps) or leads_nowhere(steps) or len(reachable(steps)) < len(steps)
    )
    assert (wrong(document(*steps)) == {}) is sound


def names_in(this: pb.WorkflowStep) -> Iterator[str]:
    yield from filter(None, [this.go_to.step_id, this.branch.otherwise, this.wait.event.otherwise])
    yield from (way.step_id for way in this.branch.ways)
    yield from (way.step_id for way in this.split.ways)


@given(valid_documents())
def test_what_is_valid_passes_and_has_no_round_without_a_wait_and_no_step_that_is_not_reached(
    written: pb.WorkflowDocument,
) -> None:
    assert out_of_bounds(written) == []
    assert wrong(written) == {}
    assert not rounds_without_a_wait(written.steps)
    assert reachable(written.steps) == set(range(len(written.steps)))


@FEW
@given(valid_documents(), st.data())
def test_an_id_that_is_there_twice_is_found(written: pb.WorkflowDocument, data: st.DataObject) -> None:
    copied = data.draw(st.integers(0, len(written.steps) - 1))
    written.steps.append(written.steps[copied])
    assert wrong(written)[f"steps[{len(written.steps) - 1}].id"] == f"is the id of steps[{copied}] already"


ASTRAY = [
    (go_to("new", "nowhere"), "go_to.step_id"),
    (wait_for("new", otherwise="nowhere"), "wait.event.otherwise"),
    (branch("new", "nowhere"), "branch.ways[0].step_id"),
    (branch("new", "new", otherwise="nowhere"), "branch.otherwise"),
    (split("new", [(50, "new"), (50, "nowhere")]), "split.ways[1].step_id"),
    (wait_for("new", {"email_opened": {"step_id": "nowhere"}}), "wait.event.happens.email_opened.step_id"),
]


@FEW
@given(valid_documents(), st.data(), st.sampled_from(ASTRAY))
def test_a_step_that_does_not_exist_is_found_wherever_it_is_named(
    written: pb.WorkflowDocument, data: st.DataObject, astray: tuple[pb.WorkflowStep, str]
) -> None:
    index = data.draw(st.integers(0, len(written.steps)))
    written.steps.insert(index, astray[0])
    assert wrong(written) == {f"steps[{index}].{astray[1]}": "there is no such step"}


@FEW
@given(valid_documents())
def test_steps_to_which_none_leads_are_found(written: pb.WorkflowDocument) -> None:
    count = len(written.steps)
    written.steps.extend([mail("lost"), leave("lost-end")])
    never = "is never reached: no step leads here"
    assert wrong(written) == {f"steps[{count}]": never, f"steps[{count + 1}]": never}


@FEW
@given(valid_documents())
def test_a_last_step_that_leads_nowhere_is_found(written: pb.WorkflowDocument) -> None:
    last = len(written.steps) - 1
    written.steps[last].send_email.CopyFrom(pb.SendEmail(**MAIL))
    assert "leads nowhere" in wrong(written)[f"steps[{last}]"]


@FEW
@given(valid_documents())
def test_a_round_without_a_wait_is_found(written: pb.WorkflowDocument) -> None:
    steps = mail("again"), branch("round", "again"), *written.steps
    assert wrong(document(*steps)) == {
        "steps[0]": "goes round without end, and without a wait: again → round → again"
    }


@FEW
@given(
    valid_documents(),
    st.lists(st.integers(1, 100), min_size=1, max_size=4).filter(lambda all_: sum(all_) != 100),
)
def test_shares_that_do_not_add_up_are_found(written: pb.WorkflowDocument, shares: list[int]) -> None:
    first = written.steps[0].id
    steps = [wait("before"), split("lots", [(share, first) for share in shares]), *written.steps]
    assert wrong(document(*steps)) == {
        "steps[1].split.ways": f"must have shares that add up to 100, and they add up to {sum(shares)}"
    }


def test_a_step_that_leads_to_itself_goes_round() -> None:
    assert wrong(document(go_to("a", "a"))) == {
        "steps[0]": "goes round without end, and without a wait: a → a"
    }


def test_in_the_last_step_a_branch_must_say_where_it_leads_otherwise() -> None:
    steps = wait("a"), branch("b", "a")
    assert wrong(document(*steps)) == {
        "steps[1].branch.otherwise": "must be given in the last step: there is none below"
    }


def test_more_than_a_hundred_steps_are_refused_by_the_contract() -> None:
    many = document(*(mail(f"s{number}") for number in range(100)), leave())
    assert [(each.field, each.message) for each in out_of_bounds(many)] == [
        ("steps", "must have at most 100 elements")
    ]


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        (
            document(leave(), trigger={}),
            "trigger",
            "must have exactly one of contact_created, contact_subscribed",
        ),
        (document(pb.WorkflowStep(id="a")), "steps[0]", "must have exactly one of send_email, wait"),
        (
            document(step("a", wait={}), leave()),
            "steps[0].wait",
            "must have exactly one of duration, time_of_day",
        ),
        (document(leave(), goal={}), "goal", "must have exactly one of event, rule"),
        (document(leave(), goal={"rule": {}}), "goal.rule", "must be given"),
        (document(leave(), exit_when=[{"event": {}}]), "exit_when[0].event", "must have exactly one of"),
        (document(leave("a b")), "steps[0].id", "must be letters, digits, _ and -"),
        (document(wait("a", duration={}), leave()), "steps[0].wait.duration", "must be a minute at least"),
        (
            document(
                wait("a", event={"happens": {"list_joined": {"list_id": LIST}}, "time_limit": {}}), leave()
            ),
            "steps[0].wait.event.time_limit",
            "must be a minute at least",
        ),
        (
            document(wait("a", time_of_day={"time": "25:00"}), leave()),
            "steps[0].wait.time_of_day.time",
            "must be a time of day",
        ),
        (
            document(step("a", send_email={"subject": "Hello"}), leave()),
            "steps[0].send_email.html",
            "must be given unless there is a text or a template_id",
        ),
        (
            document(step("a", send_email={"html": "Hello"}), leave()),
            "steps[0].send_email.subject",
            "must be given unless there is a template_id",
        ),
        (
            document(step("a", send_email=MAIL | {"template_id": OTHER}), leave()),
            "steps[0].send_email.template_id",
            "takes the place of html and text",
        ),
        (
            document(step("a", set_field={"field": {"name": CONTACT_FIELD_STATUS}}), leave()),
            "steps[0].set_field.field.name",
            "must be first_name or last_name",
        ),
        (
            document(step("a", set_field={"field": {}}), leave()),
            "steps[0].set_field.field",
            "must have exactly one",
        ),
        (
            document(leave(), trigger={"field_changed": {"name": 0}}),
            "trigger.field_changed.name",
            "must be given",
        ),
        (
            document(leave(), trigger={"field_changed": {"name": CONTACT_FIELD_CREATED_AT}}),
            "trigger.field_changed.name",
            "created_at and updated_at only tell when",
        ),
        (
            document(wait_for("a", {"field_changed": {"name": CONTACT_FIELD_UPDATED_AT}}), leave()),
            "steps[0].wait.event.happens.field_changed.name",
            "created_at and updated_at only tell when",
        ),
        (
            document(leave(), re_enrollment={"rule": pb.RE_ENROLLMENT_RULE_AFTER_DAYS}),
            "re_enrollment.days",
            "must be 1 at least",
        ),
        (
            document(leave(), re_enrollment={"rule": pb.RE_ENROLLMENT_RULE_NEVER, "days": 3}),
            "re_enrollment.days",
            "goes with the rule after_days alone",
        ),
        (
            document(wait_for("a", {"email_opened": {"step_id": "b"}}), leave()),
            "steps[0].wait.event.happens.email_opened.step_id",
            "there is no such step",
        ),
        (
            document(leave(), goal={"event": {"email_clicked": {"step_id": "end"}}}),
            "goal.event.email_clicked.step_id",
            "is no step that sends an e-mail",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_field(written: pb.WorkflowDocument, field: str, message: str) -> None:
    told = wrong(written)
    assert list(told) == [field]
    assert message in told[field]


def test_nobody_is_told_more_than_twenty_things_at_once() -> None:
    assert len(violations(document(*(step("no id", wait={}) for _ in range(50))))) == 20


def test_a_document_says_what_it_names_that_lives_elsewhere() -> None:
    written = document(
        step("hello", send_email={"from_email": "shop@example.com", "template_id": OTHER}),
        wait_for("back", {"campaign_opened": {}}),
        branch("which", "mark"),
        step("mark", add_tag={"tag_id": TAG}),
        step("set", set_field={"field": {"custom_field": "plan"}}),
        step("call", call_webhook={"endpoint_id": OTHER}),
        leave(),
        trigger={"form_submitted": {"form_id": FORM}},
        goal={"rule": RULE},
        exit_when=[{"event": {"list_joined": {"list_id": LIST}}}],
    )
    assert list(references(written)) == [
        Reference("trigger.form_submitted.form_id", Named.FORM, FORM),
        Reference("steps[0].send_email.template_id", Named.TEMPLATE, OTHER),
        Reference("steps[3].add_tag.tag_id", Named.TAG, TAG),
        Reference("steps[4].set_field.field.custom_field", Named.CUSTOM_FIELD, "plan"),
        Reference("steps[5].call_webhook.endpoint_id", Named.ENDPOINT, OTHER),
        Reference("exit_when[0].event.list_joined.list_id", Named.LIST, LIST),
    ]
    assert [path for path, _ in rules(written)] == ["steps[2].branch.ways[0].rule", "goal.rule"]


def test_two_days_are_a_wait() -> None:
    assert wrong(document(wait("a", duration=TWO_DAYS), go_to("b", "a"))) == {}
