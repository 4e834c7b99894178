"""Whatever workflows say, whatever happens in whatever order, and whoever is killed at it: each effect is there once, and each trace as it must be.

Hypothesis makes up the documents and what happens. Two workers live it on a real database; they are cut off at random moments, in any transaction,
and so are the handlers of events. Events are told late, twice and in another order, and so are orders. What must come of it a bystander says
(`workflow_bystander.py`): plain Python, with an interpreter written anew beside the one that runs. Where workers and events meet, the order of
both is open: the bystander accepts any in which everything that was told counts, and what is committed is the whole outcome.

`WORKFLOW_STORIES=200 WORKFLOW_STEPS=60` makes it many and long ones.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.secret import Secret
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.delivery.settings import DeliverySettings
from services.sending.fan_out import FanOut
from services.sending.identity_peer import IdentityPeer
from services.sending.tests.audience import Audience
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_story import NAMES, WORKERS, Blow, Cut, Refusal, Site, Story
from services.sending.workflows.events import EventKind
from services.sending.workflows.tests.drafts import FORM, JOINS, ORDERS, SEGMENT, TAG, valid_documents

STORIES = int(os.environ.get("WORKFLOW_STORIES", "5"))
STEPS = int(os.environ.get("WORKFLOW_STEPS", "30"))

_TRIGGERS: Sequence[Any] = (
    JOINS,
    ORDERS,
    {"tag_added": {"tag_id": TAG}},
    {"form_submitted": {"form_id": FORM}},
    {"segment_entered": {"segment_id": SEGMENT}},
    {"contact_created": {}},
    {"contact_subscribed": {}},
    {"field_changed": {"custom_field": "plan"}},
)
_AGAIN: Sequence[Any] = (
    None,
    {"rule": pb.RE_ENROLLMENT_RULE_AFTER_EXIT},
    {"rule": pb.RE_ENROLLMENT_RULE_AFTER_DAYS, "days": 1},
)
_HAPPENING = (
    EventKind.LIST_JOINED,
    EventKind.TAG_ADDED,
    EventKind.TAG_REMOVED,
    EventKind.FORM_SUBMITTED,
    EventKind.SEGMENT_ENTERED,
    EventKind.CONTACT_CREATED,
    EventKind.FIELD_CHANGED,
    EventKind.CUSTOM_EVENT,
    EventKind.EMAIL_OPENED,
    EventKind.EMAIL_CLICKED,
)
# From what waits in documents last: moments, minutes, hours, days.
_SPANS = (0.2, 30, 3_600, 5 * 3_600, 20 * 3_600, 86_400)

whoever = st.integers(0, len(NAMES) - 1)
whichever = st.integers(0, 1_000)
some = st.lists(whichever, min_size=1, max_size=6)
cuts = st.lists(
    st.builds(Cut, st.integers(0, 25), st.sampled_from(Blow), st.integers(0, WORKERS - 1)), max_size=4
)
refusals = st.builds(Refusal, st.integers(0, 40), whoever, st.booleans())


@st.composite
def documents(draw: st.DrawFn) -> pb.WorkflowDocument:
    """Any that is valid, for whoever does any of several things."""
    drawn = draw(valid_documents())
    drawn.trigger.CopyFrom(pb.WorkflowTrigger(**draw(st.sampled_from(_TRIGGERS))))
    if (again := draw(st.sampled_from(_AGAIN))) is not None:
        drawn.re_enrollment.CopyFrom(pb.ReEnrollment(**again))
    return drawn


class Machine(RuleBasedStateMachine):
    """Hypothesis draws in a thread of its own, and the event loop that the connections belong to lives the story."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    site: ClassVar[Site]
    lived: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(self.site)

    @initialize(written=st.lists(documents(), min_size=2, max_size=3))
    def begin(self, written: Sequence[pb.WorkflowDocument]) -> None:
        for document in written:
            self._live(self.story.start(document))
        self._live(
            self.story.turn(*(self.story.inviting(which, [0, 1, 2, 3]) for which in range(len(written))))
        )

    def teardown(self) -> None:
        if self.story.workflows:
            self._live(self.story.finish())
        self.lived.update(self.story.lived)
        self.lived["stories"] += 1

    @rule(which=whichever, people=st.lists(whoever, min_size=1, unique=True), cuts=cuts)
    def invite(self, which: int, people: Sequence[int], cuts: Sequence[Cut]) -> None:
        self._live(self.story.turn(self.story.inviting(which, people), cuts=cuts))

    @rule(kind=st.sampled_from(_HAPPENING), who=whoever, which=whichever)
    def happen(self, kind: EventKind, who: int, which: int) -> None:
        self.story.happen(kind, who, which)

    @rule(who=whoever, which=whichever)
    def happen_as_wanted(self, who: int, which: int) -> None:
        self.story.happen_as_wanted(who, which)

    @rule(picks=some, cuts=cuts)
    def tell(self, picks: Sequence[int], cuts: Sequence[Cut]) -> None:
        self._live(self.story.turn(*self.story.telling(picks), cuts=cuts))

    @rule(cuts=cuts, whole=st.booleans())
    def work(self, cuts: Sequence[Cut], whole: bool) -> None:
        self._live(self.story.turn(cuts=cuts, whole=whole))

    @rule(refusal=refusals, cuts=cuts, whole=st.booleans())
    def opt_out(self, refusal: Refusal, cuts: Sequence[Cut], whole: bool) -> None:
        self._live(self.story.turn(cuts=cuts, refusing=refusal, whole=whole))

    @rule(refusal=refusals, picks=some, cuts=cuts)
    def opt_out_as_things_are_told(self, refusal: Refusal, picks: Sequence[int], cuts: Sequence[Cut]) -> None:
        self._live(self.story.turn(*self.story.telling(picks), cuts=cuts, refusing=refusal))

    @rule(refusal=refusals, which=whichever)
    def opt_out_on_the_way_in(self, refusal: Refusal, which: int) -> None:
        self._live(self.story.turn(self.story.inviting(which, [refusal.who]), refusing=refusal))

    @rule(span=st.sampled_from(_SPANS))
    def pass_time(self, span: float) -> None:
        self.story.pass_time(span)

    @rule(picks=some)
    def carry_out(self, picks: Sequence[int]) -> None:
        self.story.carry_out(picks)

    @rule(who=whoever)
    def come_back(self, who: int) -> None:
        self._live(self.story.come_back(who))

    @rule(who=whoever)
    def move(self, who: int) -> None:
        self.story.move(who)

    @rule(who=whoever, really=st.integers(0, 3))
    def erase(self, who: int, really: int) -> None:
        if not really:
            self.story.erase(who)

    @rule(which=whichever, document=documents())
    def edit(self, which: int, document: pb.WorkflowDocument) -> None:
        self._live(self.story.edit(which, document))

    @rule(which=whichever)
    def switch(self, which: int) -> None:
        self._live(self.story.switch(which))

    def _live(self, life: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(life, self.loop).result()


@pytest.fixture
async def site(
    *,
    servers: Any,
    settings: DeliverySettings,
    sending: Peer,
    suppression: Peer,
    database: Database,
    audience: Audience,
    fan_out: FanOut,
    scheduler: RoleDatabase,
    allowances: IdentityPeer,
) -> AsyncIterator[Site]:
    names = [f"storied-worker-{os.getpid()}-{number}" for number in range(WORKERS)]
    first, second = [
        Database(Secret(f"{settings.database_url.reveal()}?application_name={name}"), schema="sending")
        for name in names
    ]
    admin = await psycopg.AsyncConnection.connect(servers.admin_database_url, autocommit=True)
    async with first, second, admin:
        yield Site(
            lambda: Tenant(sending, suppression, database, audience, fan_out),
            dict(zip(names, (first, second), strict=True)),
            scheduler,
            allowances,
            admin,
        )


async def test_in_every_story_each_effect_happens_once_and_each_trace_is_the_bystanders(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    Machine.loop, Machine.site, Machine.lived = asyncio.get_running_loop(), site, Counter()
    bounds = settings(
        max_examples=STORIES,
        stateful_step_count=STEPS,
        # A shorter story that fails as well is looked for in minutes, and a long one can be read.
        phases=(Phase.reuse, Phase.generate),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=bounds)
    lived = Machine.lived
    record_property(
        "figure",
        f"workflow stories: {lived['stories']:,}, {lived['turns']:,} turns, {lived['enrollments']:,} enrollments, {lived['steps']:,} steps "
        f"as they must be, {lived['effects']:,} effects, each once; {lived[Blow.PROCESS]:,} workers ended, {lived['transactions ended']:,} "
        f"transactions ended by the database, {lived['told']:,} events told and {lived['told again']:,} of them again after a blow",
    )
