"""Whatever people, organizations and the network do, in whatever order: who is on the list gets no mail, and nobody else is kept from it.

Hypothesis makes the stories up. The services live them: contacts, sending, suppression, delivery and workflows, on a real database and a real
relay, for several organizations that know the same people. Their events are told late, in any order and more than once.
Workflows have stories of their own as well (`services/sending/tests/test_workflow_stories.py`).
`SUPPRESSION_STORIES=200 SUPPRESSION_STEPS=100` makes it many and long ones.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from services.sending.delivery import worker as worker_module
from services.sending.delivery.claims import Claim, claim
from tests.integration.sending_path import SendingPath, sending_path
from tests.integration.suppression_story import ELSEWHERE, EVERYWHERE, ORGANIZATIONS, Story, Way

STORIES = int(os.environ.get("SUPPRESSION_STORIES", "3"))
STEPS = int(os.environ.get("SUPPRESSION_STEPS", "30"))

somewhere = st.integers(0, ORGANIZATIONS - 1)
somebody = st.sampled_from(EVERYWHERE)
elsewhere = st.sampled_from(ELSEWHERE) | somebody
whichever = st.integers(0, 1_000)
once_or_twice = st.integers(1, 2)


class Machine(RuleBasedStateMachine):
    """Hypothesis draws in a thread of its own, and the event loop that the connections belong to lives the story."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    path: ClassVar[SendingPath]
    story: ClassVar[Story]
    lived: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        type(self).story = Story(self.path)
        self._live(self.story.begin())

    def teardown(self) -> None:
        self._live(self.story.end())
        self.lived.update(self.story.counts)
        self.lived["stories"] += 1

    @rule(number=somewhere, who=somebody)
    def upsert(self, number: int, who: EmailAddress) -> None:
        self._step(self.story.upsert(number, who))

    @rule(number=somewhere)
    def import_file(self, number: int) -> None:
        self._step(self.story.import_file(number))

    @rule(number=somewhere, who=somebody)
    def create(self, number: int, who: EmailAddress) -> None:
        self._step(self.story.create(number, who))

    @rule(number=somewhere, who=somebody)
    def delete(self, number: int, who: EmailAddress) -> None:
        self._step(self.story.delete(number, who))

    @rule(number=somewhere)
    def launch(self, number: int) -> None:
        self._step(self.story.launch(number))

    @rule(number=somewhere, who=somebody)
    def send(self, number: int, who: EmailAddress) -> None:
        self._step(self.story.send(number, who))

    @rule(number=somewhere, who=somebody)
    def suppress_by_hand(self, number: int, who: EmailAddress) -> None:
        self._step(self.story.suppress_by_hand(number, who))

    @rule(number=somewhere, who=somebody)
    def lift(self, number: int, who: EmailAddress) -> None:
        self._step(self.story.lift(number, who))

    @rule(number=somewhere, who=somebody, to=elsewhere)
    def change_address(self, number: int, who: EmailAddress, to: EmailAddress) -> None:
        self._step(self.story.change_address(number, who, to))

    @rule(number=somewhere, which=whichever, way=st.sampled_from(Way))
    def unsubscribe(self, number: int, which: int, way: Way) -> None:
        self._step(self.story.unsubscribe(number, which, way))

    @rule(number=somewhere, which=whichever, stay=st.booleans())
    def choose_list(self, number: int, which: int, stay: bool) -> None:
        self._step(self.story.choose_list(number, which, stay=stay))

    @rule(number=somewhere, which=whichever, times=once_or_twice)
    def complain(self, number: int, which: int, times: int) -> None:
        self._step(self.story.complain(number, which, times))

    @rule(number=somewhere, which=whichever, times=once_or_twice)
    def bounce_late(self, number: int, which: int, times: int) -> None:
        self._step(self.story.bounce_late(number, which, times))

    @rule(number=somewhere, which=whichever)
    def come_back(self, number: int, which: int) -> None:
        self._step(self.story.come_back(number, which))

    @rule(number=somewhere, which=whichever, at_once=st.booleans())
    def fill_in(self, number: int, which: int, at_once: bool) -> None:
        self._step(self.story.fill_in(number, which, at_once=at_once))

    @rule(number=somewhere, which=whichever)
    def confirm(self, number: int, which: int) -> None:
        self._step(self.story.confirm(number, which))

    @rule(who=somebody)
    def lose_mailbox(self, who: EmailAddress) -> None:
        self._step(self.story.lose_mailbox(who))

    @rule(number=somewhere)
    def decide(self, number: int) -> None:
        self._step(self.story.decide(number))

    @rule(number=somewhere)
    def deliver(self, number: int) -> None:
        self._step(self.story.deliver(number))

    @rule(number=somewhere)
    def wake(self, number: int) -> None:
        self._step(self.story.wake(number))

    @rule(picks=st.lists(st.tuples(whichever, st.booleans()), min_size=1, max_size=12))
    def tell(self, picks: Sequence[tuple[int, bool]]) -> None:
        self._step(self.story.tell(picks))

    def _step(self, deed: Awaitable[None]) -> None:
        self._live(self.story.step(deed))

    def _live(self, life: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(life, self.loop).result()


@pytest.fixture(scope="module")
async def path(
    service_environment: Callable[[str], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SendingPath]:
    async with sending_path(service_environment, tmp_path_factory.mktemp("journals")) as path:
        yield path


async def test_in_no_story_is_mail_claimed_for_who_is_on_the_list_or_kept_from_who_is_not(
    path: SendingPath,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    async def watched_claim(session: TenantSession, batch_ids: Collection[UUID], token: UUID) -> Claim:
        claimed = await claim(session, batch_ids, token)
        Machine.story.note_claimed(session.context.organization, claimed.messages)
        return claimed

    monkeypatch.setattr(worker_module, "claim", watched_claim)
    Machine.loop, Machine.path, Machine.lived = asyncio.get_running_loop(), path, Counter()
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
        f"suppression stories: {lived['stories']} of {ORGANIZATIONS} organizations, {lived['steps']:,} steps, {lived['told']:,} events told; "
        f"{lived['claimed']:,} messages claimed, {lived['letters']:,} written by workflows, none for who was on the list; {lived['vetoed']:,} vetoed, none for who was not; "
        f"{lived['back']:,} came back, {lived['moved']:,} moved, {lived['left']:,} left a list, {lived['out']:,} a workflow; {lived['reported']:,} reports by mail",
    )


async def test_who_confirms_on_a_form_is_off_the_list_once_all_of_it_is_told(path: SendingPath) -> None:
    story = Story(path)
    await story.begin()
    everything = [(0, False)] * 1_000
    await story.step(story.launch(0))
    await story.step(story.unsubscribe(0, 0, Way.LINK))
    await story.step(story.tell(everything))
    await story.step(story.fill_in(0, 0, at_once=True))
    await story.step(story.tell(everything))
    assert story.counts["back"] == 1
    await story.end()
