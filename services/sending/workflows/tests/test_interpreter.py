"""What follows from a document, a place, a moment and what came, follows once and for all; and the trace says why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownurture.contacts.v1.segments_pb2 import CONTACT_FIELD_FIRST_NAME
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.statuses import SuppressionReason
from services.sending.workflows.clock_times import Clocks
from services.sending.workflows.documents import Version
from services.sending.workflows.enrollments import (
    Cause,
    Ended,
    Enrollment,
    Place,
    Ready,
    Stay,
    Waiting,
    enroll,
    may_enroll,
)
from services.sending.workflows.events import Event, EventKind, begins, is_awaited
from services.sending.workflows.interpreter import (
    Advance,
    Circumstances,
    Effect,
    OtherVersion,
    Trace,
    Unanswered,
    advance,
    lot,
    questions,
)
from services.sending.workflows.tests.drafts import (
    FORM,
    JOINS,
    LIST,
    MAIL,
    OTHER,
    RULE,
    TAG,
    branch,
    document,
    event,
    go_to,
    leave,
    mail,
    split,
    trigger,
    valid_documents,
    wait,
    wait_for,
)

START = datetime(2026, 3, 27, 12, tzinfo=UTC)
CLOCKS = Clocks(ZoneInfo("UTC"), contact=ZoneInfo("Europe/Berlin"))
ENROLLMENT, CONTACT, STRANGER = UUID(int=1), UUID(int=2), UUID(int=3)
# More than any document that tests make takes until it waits or ends.
MOST_STEPS_AT_ONCE = 50
JOINED = Event(EventKind.LIST_JOINED, CONTACT, START, LIST)

Answer = Callable[[str, datetime], bool]


@dataclass
class Run:
    """A contact's way through a workflow, with all that came of it. `again` is called before each step is committed."""

    version: Version
    answer: Answer = lambda path, moment: False
    again: Callable[["Run", Circumstances, Advance], object] = lambda run, now, done: None
    moment: datetime = START
    effects: list[Effect] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    enrollment: Enrollment = field(init=False)
    place: Place = field(init=False)

    def __post_init__(self) -> None:
        self.enrollment, self.place = enroll(self.version, ENROLLMENT, CONTACT, START)

    def meet(self, came: Event | None = None, suppressed: SuppressionReason | None = None) -> Advance:
        """One step of the machine, committed."""
        now = Circumstances(self.moment, CLOCKS, suppressed, came, self.answers(self.moment))
        done = advance(self.version, self.enrollment, self.place, now)
        self.again(self, now, done)
        self.place = done.place
        self.effects += filter(None, [done.effect])
        self.traces += filter(None, [done.trace])
        return done

    def answers(self, moment: datetime) -> Mapping[str, bool]:
        return {path: self.answer(path, moment) for path in questions(self.version, self.place)}

    def settle(self) -> Place:
        """On until it waits or is over."""
        for _ in range(MOST_STEPS_AT_ONCE):
            if self.meet().trace is None:
                return self.place
        raise AssertionError("goes on and on")

    def pass_time(self, **span: float) -> Place:
        self.moment += timedelta(**span)
        return self.settle()

    def hear(self, came: Event) -> Place:
        """The event now, and what follows at once."""
        self.meet(replace(came, occurred_at=self.moment))
        return self.settle()

    @property
    def done(self) -> list[str]:
        return [effect.step_id for effect in self.effects]


def run(*steps: pb.WorkflowStep, answer: Answer = lambda path, moment: False, **rest: object) -> Run:
    begun = Run(Version(1, document(*steps, **rest)), answer)
    begun.settle()
    return begun


def ended(place: Place, cause: Cause, reason: str = "") -> bool:
    return isinstance(place, Ended) and (place.cause, place.reason) == (cause, reason)


# --- any document, anything that comes -----------------------------------------------------------------------------------------


Came = Literal[
    "nothing", "awaited", "of another contact", "before the wait", "something else", "form", "suppressed"
]


@dataclass(frozen=True)
class Stimulus:
    """What comes after how long."""

    after: timedelta
    came: Came

    def event(self, moment: datetime, place: Place) -> Event | None:
        match self.came:
            case "awaited":
                return replace(JOINED, occurred_at=moment)
            case "of another contact":
                return replace(JOINED, occurred_at=moment, contact_id=STRANGER)
            case "before the wait":
                return replace(JOINED, occurred_at=place.since - timedelta(seconds=1))
            case "something else":
                return replace(JOINED, occurred_at=moment, of=OTHER)
            case "form":
                return Event(EventKind.FORM_SUBMITTED, CONTACT, moment, FORM)
            case _:
                return None


STIMULI = st.lists(
    st.builds(
        Stimulus,
        st.timedeltas(timedelta(hours=-1), timedelta(days=2)),
        st.sampled_from([came for came in get_args(Came) if came != "suppressed"] * 2 + ["suppressed"]),
    ),
    max_size=12,
)


def live(begun: Run, stimuli: Sequence[Stimulus]) -> Iterator[tuple[Place, Stimulus | None, Advance]]:
    """The run under all of this, each place before what came, and what followed."""
    for stimulus in [Stimulus(timedelta(0), "nothing"), *stimuli]:
        begun.moment += stimulus.after
        before = begun.place
        suppressed = SuppressionReason.COMPLAINT if stimulus.came == "suppressed" else None
        done = begun.meet(stimulus.event(begun.moment, before), suppressed)
        yield before, stimulus, done
        for _ in range(MOST_STEPS_AT_ONCE):
            before = begun.place
            done = begun.meet()
            yield before, None, done
            if done.trace is None:
                break
        else:
            raise AssertionError("goes on and on")


def by_seed(seed: int) -> Answer:
    return lambda path, moment: Random(f"{seed} {path} {moment}").random() < 0.3


@given(valid_documents(), STIMULI, st.integers(0, 1000))
def test_a_step_that_is_cut_off_and_taken_up_again_has_the_effects_of_one_that_is_not(
    written: pb.WorkflowDocument, stimuli: list[Stimulus], seed: int
) -> None:
    def cut_off(begun: Run, now: Circumstances, done: Advance) -> None:
        """Before it was committed, now and at other moments, by processes that know nothing but what was committed."""
        version = Version(1, pb.WorkflowDocument.FromString(begun.version.document.SerializeToString()))
        assert advance(version, replace(begun.enrollment), replace(begun.place), now) == done
        for away in (timedelta(days=-1), timedelta(days=5)):
            other = replace(now, moment=now.moment + away, answers=begun.answers(now.moment + away))
            tried = advance(version, begun.enrollment, begun.place, other)
            if tried.effect and done.effect:
                assert tried.effect == done.effect

    undisturbed, disturbed = (Run(Version(1, written), by_seed(seed)) for _ in range(2))
    disturbed.again = cut_off
    for begun in (undisturbed, disturbed):
        list(live(begun, stimuli))
    assert (disturbed.place, disturbed.effects, disturbed.traces) == (
        undisturbed.place,
        undisturbed.effects,
        undisturbed.traces,
    )
    ids = [effect.id for effect in undisturbed.effects]
    assert len(set(ids)) == len(ids)


@given(valid_documents(), STIMULI, st.integers(0, 1000))
def test_a_wait_ends_by_its_time_or_by_what_it_waits_for_and_by_nothing_else(
    written: pb.WorkflowDocument, stimuli: list[Stimulus], seed: int
) -> None:
    begun = Run(Version(1, written), by_seed(seed))
    for before, stimulus, done in live(begun, stimuli):
        if not isinstance(before, Waiting) or not isinstance(done.place, Ready):
            continue
        if stimulus is not None and stimulus.came == "awaited":
            assert before.since <= begun.moment < before.wake_at
            assert begun.version.step(before.step_id).wait.HasField("event")
        else:
            assert stimulus is None or stimulus.came == "nothing"
            assert begun.moment >= before.wake_at


@given(valid_documents(), STIMULI, st.integers(0, 1000))
def test_it_is_always_at_a_step_of_the_document_and_what_has_ended_stays_ended(
    written: pb.WorkflowDocument, stimuli: list[Stimulus], seed: int
) -> None:
    begun = Run(Version(1, written), by_seed(seed))
    steps = {each.id: each for each in written.steps}
    for before, stimulus, done in live(begun, stimuli):
        match done.place:
            case Waiting(step_id, _, since, wake_at):
                assert steps[step_id].HasField("wait")
                assert wake_at > since
            case Ready(step_id) | Ended(step_id):
                assert step_id in steps
        assert done.place.visit >= before.visit
        assert done.place.since >= before.since
        if isinstance(before, Ended):
            assert done == Advance(before)
        elif stimulus is not None and stimulus.came == "suppressed":
            assert ended(done.place, Cause.SUPPRESSED, SuppressionReason.COMPLAINT)
            assert done.effect is None
    # Between what comes it waits or is over.
    assert not isinstance(begun.place, Ready)


# --- each step -----------------------------------------------------------------------------------------------------------------


def test_the_trace_tells_each_step_when_and_why() -> None:
    begun = run(
        mail("hello"),
        wait("rest"),
        branch("which", "gold", otherwise="end"),
        mail("gold"),
        leave(reason="done"),
    )
    begun.answer = lambda path, moment: path == "steps[2].branch.ways[0].rule"
    begun.pass_time(days=2)
    later = START + timedelta(days=2)
    assert begun.traces == [
        Trace("hello", 1, START, "send_email: on to rest"),
        Trace("rest", 2, START, "waits until 2026-03-29T12:00:00Z"),
        Trace("rest", 2, later, "the time has come: on to which"),
        Trace("which", 3, later, "the rule of ways[0] fits: on to gold"),
        Trace("gold", 4, later, "send_email: on to end"),
        Trace("end", 5, later, "the end of the way"),
    ]
    assert begun.place == Ended("end", 5, later, Cause.EXIT_STEP, "done")


def test_an_effect_says_what_is_to_be_done_and_each_visit_of_a_step_is_another() -> None:
    begun = run(mail("hello"), wait("rest"), go_to("again", "hello"))
    begun.pass_time(days=2)
    first, second = begun.effects
    assert (first.step_id, first.kind, first.action) == ("hello", "send_email", pb.SendEmail(**MAIL))
    assert second.action == first.action
    assert second.id != first.id


def test_another_enrollment_has_effects_of_its_own() -> None:
    version = Version(1, document(mail("hello"), leave()))
    now = Circumstances(START, CLOCKS)
    ids = {
        done.effect.id
        for number in range(5)
        if (done := advance(version, *enroll(version, UUID(int=number), CONTACT, START), now)).effect
    }
    assert len(ids) == 5


def test_a_wait_until_a_time_of_day_ends_by_the_contacts_clocks_though_they_change_meanwhile() -> None:
    begun = run(
        wait("rest", duration={"hours": 13}),
        wait("morning", time_of_day={"time": "09:00", "clock": 1}),
        leave(),
    )
    # The night before clocks are put forward in Berlin: 02:00 there on the 28th, and 09:00 a day later.
    begun.pass_time(hours=20)
    assert begun.place.wake_at == datetime(2026, 3, 28, 8, tzinfo=UTC) + timedelta(hours=23)


def test_a_wait_by_duration_lasts_as_long_though_clocks_change_meanwhile() -> None:
    begun = run(wait("rest", duration={"days": 2, "hours": 1, "minutes": 1}), leave())
    assert begun.place.wake_at == START + timedelta(days=2, hours=1, minutes=1)


def test_a_clock_that_goes_back_ends_no_wait_early_and_begins_none_earlier() -> None:
    begun = run(wait("a"), wait("b"), leave())
    begun.moment += timedelta(days=2)
    assert begun.meet().place == Ready("b", 2, START + timedelta(days=2))
    begun.moment -= timedelta(days=9)
    assert begun.settle() == Waiting("b", 2, START + timedelta(days=2), START + timedelta(days=4))


def test_what_happens_to_another_contact_ends_neither_a_wait_nor_an_enrollment() -> None:
    begun = run(wait_for("invite"), mail("thank"), leave(), exit_when=[{"event": JOINS}])
    assert isinstance(begun.hear(replace(JOINED, contact_id=STRANGER)), Waiting)
    alone = run(wait_for("invite"), mail("thank"), leave())
    assert isinstance(alone.hear(replace(JOINED, contact_id=STRANGER)), Waiting)


def test_an_event_takes_no_step() -> None:
    begun = Run(Version(1, document(mail("hello"), leave())))
    assert begun.meet(JOINED) == Advance(Ready("hello", 1, START))


def test_what_is_waited_for_ends_the_wait_at_once_and_only_in_time() -> None:
    steps = (
        wait_for("invite", otherwise="remind"),
        mail("thank"),
        leave(),
        mail("remind"),
        go_to("out", "end"),
    )
    joined, late, silent = (run(*steps) for _ in range(3))
    joined.hear(JOINED)
    assert joined.done == ["thank"]
    late.meet(replace(JOINED, occurred_at=START + timedelta(days=2)))
    assert isinstance(late.place, Waiting)
    silent.pass_time(days=2)
    assert silent.done == ["remind"]
    assert silent.traces[1].why == "it did not happen in time: on to remind"


def test_an_event_that_came_to_be_known_late_counts_when_it_happened_in_time() -> None:
    begun = run(wait_for("invite", otherwise="end"), mail("thank"), leave())
    begun.moment += timedelta(days=3)
    begun.meet(replace(JOINED, occurred_at=START + timedelta(days=1)))
    assert begun.traces[-1].why == "list_joined happened: on to thank"


def test_the_mail_of_another_enrollment_is_another_mail() -> None:
    steps = (
        mail("hello"),
        wait_for("read", {"email_opened": {"step_id": "hello"}}, otherwise="end"),
        mail("thank"),
        leave(),
    )
    opened = Event(EventKind.EMAIL_OPENED, CONTACT, START, "hello", ENROLLMENT)
    begun = run(*steps)
    assert isinstance(begun.hear(replace(opened, enrollment_id=UUID(int=9))), Waiting)
    assert isinstance(begun.hear(opened), Ended)
    assert begun.done == ["hello", "thank"]


def test_a_branch_takes_the_first_way_that_fits_and_otherwise_the_one_for_the_others() -> None:
    steps = (
        branch("which", "a", "b", otherwise="c"),
        mail("a"),
        go_to("x", "end"),
        mail("b"),
        go_to("y", "end"),
        mail("c"),
        leave(),
    )

    def fitting(*ways: int) -> list[str]:
        paths = {f"steps[0].branch.ways[{way}].rule" for way in ways}
        return run(*steps, answer=lambda path, moment: path in paths).done

    assert [fitting(0, 1), fitting(1), fitting()] == [["a"], ["b"], ["c"]]


def test_a_split_keeps_to_its_shares_and_to_what_a_contact_drew() -> None:
    version = Version(1, document(split("lots", [(20, "a"), (80, "end")]), mail("a"), leave()))
    now = Circumstances(START, CLOCKS)
    ways = [
        advance(version, *enroll(version, UUID(int=number << 64), CONTACT, START), now).place.step_id
        for number in range(5000)
    ]
    assert 900 < ways.count("a") < 1100
    assert ways[:50] == ["a" if lot(UUID(int=number << 64), "lots") < 20 else "end" for number in range(50)]


# --- what ends it --------------------------------------------------------------------------------------------------------------


def test_a_suppressed_contact_leaves_at_once_with_the_reason_wherever_they_are() -> None:
    waiting = run(wait("rest"), mail("hello"), leave(), goal={"event": JOINS})
    waiting.meet(replace(JOINED, occurred_at=START), suppressed=SuppressionReason.UNSUBSCRIBE)
    assert ended(waiting.place, Cause.SUPPRESSED, "unsubscribe")
    ready = Run(Version(1, document(mail("hello"), leave())))
    ready.meet(suppressed=SuppressionReason.HARD_BOUNCE)
    assert ended(ready.settle(), Cause.SUPPRESSED, "hard_bounce")
    assert ready.effects == []


def test_the_goal_comes_before_exit_conditions_and_both_before_the_step() -> None:
    rules = {"goal": {"rule": RULE}, "exit_when": [{"event": JOINS}, {"rule": RULE}]}
    both = run(mail("hello"), leave(), answer=lambda path, moment: True, **rules)
    assert ended(both.place, Cause.GOAL)
    assert both.traces == [Trace("hello", 1, START, "goal: its rule fits")]
    left = run(mail("hello"), leave(), answer=lambda path, moment: path != "goal.rule", **rules)
    assert ended(left.place, Cause.EXIT_CONDITION)
    assert left.traces == [Trace("hello", 1, START, "exit_when[1]: its rule fits")]
    assert both.effects == left.effects == []


def test_a_goal_that_happens_ends_a_wait_before_its_time_even_if_that_waits_for_the_same() -> None:
    begun = run(wait_for("rest"), mail("hello"), leave(), goal={"event": JOINS})
    assert ended(begun.hear(JOINED), Cause.GOAL)
    assert begun.effects == []


def test_what_happened_before_the_enrollment_is_not_its_goal() -> None:
    begun = run(wait("rest"), leave(), goal={"event": JOINS})
    begun.meet(replace(JOINED, occurred_at=START - timedelta(seconds=1)))
    assert isinstance(begun.place, Waiting)


def test_a_goal_that_came_to_be_known_late_counts_since_the_enrollment_began() -> None:
    begun = run(wait("a"), wait("b"), leave(), goal={"event": JOINS})
    begun.pass_time(days=3)
    begun.meet(replace(JOINED, occurred_at=START + timedelta(days=1)))
    assert ended(begun.place, Cause.GOAL)


def test_a_rule_is_asked_before_a_step_and_not_while_a_contact_waits() -> None:
    begun = run(wait("rest"), branch("which", "end"), leave(), goal={"rule": RULE})
    assert questions(begun.version, begun.place) == {}
    begun.moment += timedelta(days=2)
    begun.meet()
    assert list(questions(begun.version, begun.place)) == ["goal.rule", "steps[1].branch.ways[0].rule"]


def test_nothing_is_guessed_where_an_answer_is_missing() -> None:
    version = Version(1, document(branch("which", "end"), leave()))
    with pytest.raises(Unanswered, match=r"steps\[0\]\.branch\.ways\[0\]\.rule"):
        advance(version, *enroll(version, ENROLLMENT, CONTACT, START), Circumstances(START, CLOCKS))


def test_an_enrollment_goes_on_by_the_version_with_which_it_began_alone() -> None:
    steps = document(mail("hello"), leave())
    enrollment, place = enroll(Version(1, steps), ENROLLMENT, CONTACT, START)
    with pytest.raises(OtherVersion):
        advance(Version(2, steps), enrollment, place, Circumstances(START, CLOCKS))


# --- who comes in --------------------------------------------------------------------------------------------------------------


def test_whoever_was_in_it_before_comes_in_again_as_the_rule_says_and_never_twice_at_a_time() -> None:
    day = timedelta(days=1)
    never, after_exit = pb.ReEnrollment(), pb.ReEnrollment(rule=pb.RE_ENROLLMENT_RULE_AFTER_EXIT)
    after_days = pb.ReEnrollment(rule=pb.RE_ENROLLMENT_RULE_AFTER_DAYS, days=30)
    still_in, out = Stay(START, None), Stay(START, START + day)
    for rule in (never, after_exit, after_days):
        assert may_enroll(rule, None, START)
        assert not may_enroll(rule, still_in, START + 99 * day)
    assert not may_enroll(never, out, START + 999 * day)
    assert may_enroll(after_exit, out, START + day)
    assert not may_enroll(after_days, out, START + 30 * day - timedelta(seconds=1))
    assert may_enroll(after_days, out, START + 30 * day)


def test_a_trigger_is_met_by_the_event_that_it_names() -> None:
    joined = trigger(list_joined={"list_id": LIST})
    assert begins(joined, JOINED)
    assert not begins(joined, replace(JOINED, of=OTHER))
    assert not begins(joined, Event(EventKind.TAG_ADDED, CONTACT, START, LIST))
    assert begins(trigger(contact_created={}), Event(EventKind.CONTACT_CREATED, CONTACT, START))
    assert not begins(trigger(api={}), JOINED)


def test_a_campaign_that_is_not_named_is_any_campaign() -> None:
    clicked = Event(EventKind.CAMPAIGN_CLICKED, CONTACT, START, OTHER)
    assert is_awaited(event(campaign_clicked={}), clicked)
    assert is_awaited(event(campaign_clicked={"campaign_id": OTHER}), clicked)
    assert not is_awaited(event(campaign_clicked={"campaign_id": TAG}), clicked)


def test_fields_are_called_as_templates_call_them() -> None:
    changed = Event(EventKind.FIELD_CHANGED, CONTACT, START, "custom_fields.plan")
    assert is_awaited(event(field_changed={"custom_field": "plan"}), changed)
    assert not is_awaited(event(field_changed={"custom_field": "first_name"}), changed)
    named = event(field_changed={"name": CONTACT_FIELD_FIRST_NAME})
    assert is_awaited(named, replace(changed, of="first_name"))


def test_every_event_of_the_contract_has_its_kind() -> None:
    told = {
        member.name
        for message in (pb.WorkflowTrigger, pb.WorkflowEvent)
        for member in message.DESCRIPTOR.fields
    }
    assert told - {"api", "date_field"} == {kind.value for kind in EventKind}
