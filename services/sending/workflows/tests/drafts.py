"""Documents for tests: single steps as they are read well, and valid documents of every shape."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from flownurture.sending.v1 import workflows_pb2 as pb

LIST = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e01"
TAG = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e02"
FORM = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e03"
OTHER = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e04"
SEGMENT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e05"
MAIL = {"from_email": "shop@example.com", "subject": "Hello", "text": "Welcome."}
RULE = {"tag": {"tag_id": TAG}}
JOINS = {"list_joined": {"list_id": LIST}}
ORDERS = {"custom_event": {"name": "ordered"}}
TWO_DAYS = {"days": 2}


def step(step_id: str, **action: Any) -> pb.WorkflowStep:
    """A step of that id that does this."""
    return pb.WorkflowStep(id=step_id, **action)


def mail(step_id: str) -> pb.WorkflowStep:
    return step(step_id, send_email=MAIL)


def wait(step_id: str, **until: Any) -> pb.WorkflowStep:
    return step(step_id, wait=until or {"duration": TWO_DAYS})


def wait_for(step_id: str, happens: Mapping[str, Any] = JOINS, otherwise: str = "") -> pb.WorkflowStep:
    return wait(step_id, event={"happens": happens, "time_limit": TWO_DAYS, "otherwise": otherwise})


def branch(step_id: str, *ways: str, otherwise: str = "") -> pb.WorkflowStep:
    return step(
        step_id,
        branch={"ways": [{"rule": RULE, "step_id": way} for way in ways], "otherwise": otherwise},
    )


def split(step_id: str, shares: Iterable[tuple[int, str]]) -> pb.WorkflowStep:
    return step(step_id, split={"ways": [{"share_percent": share, "step_id": way} for share, way in shares]})


def go_to(step_id: str, target: str) -> pb.WorkflowStep:
    return step(step_id, go_to={"step_id": target})


def leave(step_id: str = "end", reason: str = "") -> pb.WorkflowStep:
    return step(step_id, exit={"reason": reason})


def document(*steps: pb.WorkflowStep, **rest: Any) -> pb.WorkflowDocument:
    """These steps, for whoever joins a list."""
    return pb.WorkflowDocument(**({"trigger": JOINS} | rest), steps=steps)


def trigger(**member: Any) -> pb.WorkflowTrigger:
    return pb.WorkflowTrigger(**member)


def event(**member: Any) -> pb.WorkflowEvent:
    return pb.WorkflowEvent(**member)


_EFFECTS: Sequence[Mapping[str, Any]] = (
    {"send_email": MAIL},
    {"add_tag": {"tag_id": TAG}},
    {"remove_tag": {"tag_id": TAG}},
    {"add_to_list": {"list_id": LIST}},
    {"remove_from_list": {"list_id": LIST}},
    {"set_field": {"field": {"custom_field": "plan"}, "value": {"string_value": "pro"}}},
    {"call_webhook": {"endpoint_id": OTHER}},
    {"notify_member": {"user_id": OTHER, "subject": "Look", "text": "Somebody is here."}},
)
_WAITS: Sequence[Mapping[str, Any]] = (
    {"duration": {"hours": 5}},
    {"time_of_day": {"time": "02:30", "clock": pb.CLOCK_CONTACT}},
    {"time_of_day": {"time": "09:00"}},
    {"event": {"happens": JOINS, "time_limit": {"days": 1}}},
    {"event": {"happens": JOINS, "time_limit": {"minutes": 90}}},
    {"event": {"happens": ORDERS, "time_limit": {"days": 1}}},
)
_CONDITIONS: Sequence[Mapping[str, Any]] = (
    {"rule": RULE},
    {"event": {"form_submitted": {"form_id": FORM}}},
    {"event": ORDERS},
)
_KINDS = ("effect", "effect", "wait", "branch", "split", "go_to", "exit")


@st.composite
def valid_documents(draw: st.DrawFn) -> pb.WorkflowDocument:
    """Steps that lead onward, or back to a wait; those that none leads to are left out."""
    count = draw(st.integers(1, 8))
    kinds = [*draw(st.lists(st.sampled_from(_KINDS), min_size=count, max_size=count)), "exit"]
    waits = [index for index, kind in enumerate(kinds) if kind == "wait"]

    def target(index: int) -> str:
        onward = range(index + 1, len(kinds))
        return f"s{draw(st.sampled_from([*onward, *waits]))}"

    steps = [
        _draw_step(draw, f"s{index}", kind, lambda i=index: target(i)) for index, kind in enumerate(kinds)
    ]
    reached = _reached(steps)
    _await_engagement(draw, reached)
    conditions = st.sampled_from(_CONDITIONS)
    return document(
        *reached,
        goal=draw(st.none() | conditions),
        exit_when=draw(st.lists(conditions, max_size=2)),
    )


def _draw_step(draw: st.DrawFn, step_id: str, kind: str, target: Any) -> pb.WorkflowStep:
    match kind:
        case "effect":
            return step(step_id, **draw(st.sampled_from(_EFFECTS)))
        case "wait":
            drawn = wait(step_id, **draw(st.sampled_from(_WAITS)))
            if drawn.wait.HasField("event") and draw(st.booleans()):
                drawn.wait.event.otherwise = target()
            return drawn
        case "branch":
            return branch(step_id, target(), target(), otherwise=draw(st.sampled_from(["", target()])))
        case "split":
            share = draw(st.integers(1, 99))
            return split(step_id, [(share, target()), (100 - share, target())])
        case "go_to":
            return go_to(step_id, target())
        case _:
            return leave(step_id)


def _await_engagement(draw: st.DrawFn, steps: Sequence[pb.WorkflowStep]) -> None:
    """Have some of the waits be for what contacts do with a mail, if there is any."""
    mails = [step.id for step in steps if step.HasField("send_email")]
    waiting = [step.wait.event.happens for step in steps if step.wait.HasField("event")]
    for happens in waiting if mails else []:
        kind = draw(st.sampled_from([None, "email_opened", "email_clicked"]))
        if kind is not None:
            happens.CopyFrom(event(**{kind: {"step_id": draw(st.sampled_from(mails))}}))


def _reached(steps: Sequence[pb.WorkflowStep]) -> list[pb.WorkflowStep]:
    reached = reachable(steps)
    return [step for index, step in enumerate(steps) if index in reached]


def onward(steps: Sequence[pb.WorkflowStep], index: int) -> set[int]:
    """Where a step may lead, told by hand; `len(steps)` stands for below the last, and for no such step."""
    this = steps[index]
    names = {
        "go_to": [this.go_to.step_id],
        "exit": [],
        "split": [way.step_id for way in this.split.ways],
        "branch": [*(way.step_id for way in this.branch.ways), this.branch.otherwise],
        "wait": ["", *filter(None, [this.wait.event.otherwise])],
    }.get(str(this.WhichOneof("action")), [""])
    ids = [each.id for each in steps]
    return {(ids.index(name) if name in ids else len(ids)) if name else index + 1 for name in names}


def reachable(steps: Sequence[pb.WorkflowStep]) -> set[int]:
    """The steps that can be come to, found by going on until nothing is added."""
    reached = {0}
    while more := {to for index in reached for to in onward(steps, index) if to < len(steps)} - reached:
        reached |= more
    return reached
