"""Sets of enrollments go on: what is asked of others for all of them at once, what follows for each, and what is written of it.

All of a set commits together: places, traces, counts, the messages of their mails, and the orders to other services. A process that dies
before leaves nothing of it, and one that comes after finds them where they were.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from flownurture.contacts.v1.segments_pb2 import Rule
from services.sending.frequency_cap import give_places_back, take_places
from services.sending.recipients import Recipient
from services.sending.reputation import reputation_of
from services.sending.sending_policy import SendingPolicy, policy_of, quiet_until
from services.sending.statuses import SuppressionReason
from services.sending.templating.merge_fields import MergeFields
from services.sending.usage import Allowances, EmailLimitReached
from services.sending.workflow_messages import Outcome, Send, send_mails
from services.sending.workflows.claims import Claimed, claim_due
from services.sending.workflows.clock_times import Clocks
from services.sending.workflows.events import Event
from services.sending.workflows.interpreter import Advance, Circumstances, Effect
from services.sending.workflows.journeys import SEND, Held, Journey
from services.sending.workflows.orders import order
from services.sending.workflows.people import MOST_RULES, Absent, Description, People, Person, Question
from services.sending.workflows.programs import Programs
from services.sending.workflows.records import write_down

Clock: TypeAlias = Callable[[], datetime]

# What a set does at most before it commits; whoever could go further goes on in the next.
_MOST_ROUNDS = 10
_LOOK_FOR_CHANGE = timedelta(milliseconds=300)
_LOOK_AT_LIMIT = timedelta(minutes=1)
_LOOK_AT_REPUTATION = timedelta(minutes=1)
_LOOK_AT_POLICY = timedelta(hours=1)
_AFTER_FAILURE = timedelta(minutes=1)
_UTC = ZoneInfo("UTC")
# Where no clock is looked at.
_ANY = Clocks(_UTC)


def _by_the_clock() -> datetime:
    return datetime.now(UTC)


class Advancing:
    """Takes enrollments on, as far as they come at this moment."""

    def __init__(
        self, database: Database, people: People, allowances: Allowances, clock: Clock = _by_the_clock
    ) -> None:
        self._database = database
        self._people = people
        self._allowances = allowances
        self._programs = Programs()
        self._clock = clock

    @property
    def moment(self) -> datetime:
        """What its clock shows."""
        return self._clock()

    async def advance_due(self, context: RequestContext, workflow_id: UUID, most: int) -> int:
        """Take up to so many of a workflow on that are due; answers how many there were. Raises Unavailable."""
        async with self._database.tenant_transaction(context) as session:
            moment = self.moment
            claimed = await claim_due(session, workflow_id, moment, most)
            journeys = await self._journeys(session, claimed)
            going = _Set(session, moment, await policy_of(session), self._people, self._allowances)
            await going.go_on(journeys)
            await write_down(session, journeys, order(session, journeys))
        return len(claimed)

    async def put_off_due(self, context: RequestContext, workflow_id: UUID) -> None:
        """Let the one that is due first wait, since it fails by itself."""
        async with self._database.tenant_transaction(context) as session:
            moment = self.moment
            journeys = await self._journeys(session, await claim_due(session, workflow_id, moment, 1))
            for journey in journeys:
                journey.hold(Held.FAILURE, moment + _AFTER_FAILURE)
            await write_down(session, journeys, {})

    async def happen(
        self, session: TenantSession, claimed: Sequence[Claimed], events: Mapping[UUID, Sequence[Event]]
    ) -> None:
        """Let go on, or leave, for whom events, by contact, are what they wait for. No step is taken."""
        moment = self.moment
        journeys = await self._journeys(session, claimed)
        for journey in journeys:
            for event in events.get(journey.claimed.enrollment.contact_id, ()):
                journey.accept(journey.ahead(Circumstances(moment, _ANY, journey.claimed.suppressed, event)))
        await write_down(session, [journey for journey in journeys if journey.traces], {})

    async def leave_suppressed(self, session: TenantSession, claimed: Sequence[Claimed]) -> None:
        """Let those leave to whom no mail may go."""
        moment = self.moment
        journeys = await self._journeys(session, [each for each in claimed if each.suppressed is not None])
        for journey in journeys:
            journey.accept(journey.ahead(Circumstances(moment, _ANY, journey.claimed.suppressed)))
        await write_down(session, journeys, {})

    async def _journeys(self, session: TenantSession, claimed: Sequence[Claimed]) -> list[Journey]:
        programs = await self._programs.of(session, {each.numbered for each in claimed})
        return [Journey.of(each, programs[each.numbered]) for each in claimed]


class _Set:
    """Enrollments that go on together, at one moment, in one transaction."""

    def __init__(
        self,
        session: TenantSession,
        moment: datetime,
        policy: SendingPolicy,
        people: People,
        allowances: Allowances,
    ) -> None:
        self._session = session
        self._moment = moment
        self._policy = policy
        self._people = people
        self._allowances = allowances

    async def go_on(self, journeys: Sequence[Journey]) -> None:
        """As far as each comes."""
        for _ in range(_MOST_ROUNDS):
            if not journeys:
                return
            journeys = await self._round(journeys)

    async def _round(self, journeys: Sequence[Journey]) -> list[Journey]:
        """A step each; answers those of whom more may follow at once."""
        known = await self._describe([each for each in journeys if each.takes_contact])
        gone: list[Journey] = []
        sending: list[_Sending] = []
        for journey in journeys:
            contact = known.get(journey.id, _NOT_ASKED)
            if contact.described is Absent.BEHIND:
                journey.hold(Held.CHANGE, self._moment + _LOOK_FOR_CHANGE)
                continue
            ahead = self._ahead(journey, contact)
            if isinstance(contact.described, Person) and ahead.effect and ahead.effect.kind == SEND:
                sending.append(_Sending.of(journey, ahead, ahead.effect, contact.described.recipient))
            elif ahead.trace is not None:
                journey.accept(ahead)
                gone.append(journey)
        gone += await self._send(sending)
        return [journey for journey in gone if journey.goes_on]

    def _ahead(self, journey: Journey, contact: "_Known") -> Advance:
        suppressed = journey.claimed.suppressed
        if suppressed is None and contact.described is Absent.UNKNOWN:
            suppressed = SuppressionReason.ERASED
        zone = contact.described.zone if isinstance(contact.described, Person) else None
        return journey.ahead(
            Circumstances(self._moment, Clocks(self._policy.zone, zone), suppressed, answers=contact.answers)
        )

    async def _describe(self, journeys: Sequence[Journey]) -> Mapping[UUID, "_Known"]:
        """Who their contacts are now, all of them asked about at once, unless that is more than can be asked."""
        known: dict[UUID, _Known] = {}
        for asked in _Asked.of(journeys):
            described = await self._people.describe(
                self._session.context, asked.questions, asked.rules, asked.custom_fields
            )
            for journey, each in zip(asked.journeys, described, strict=True):
                known[journey.id] = _Known(each, asked.answers(journey, each))
        return known

    async def _send(self, sending: Sequence["_Sending"]) -> list[Journey]:
        """Send their mails; answers those whose step is taken, or who leave since nothing may go to them."""
        admitted = await self._admit(sending)
        if not admitted:
            return []
        allowance = await self._allowances.of(self._session.context)
        outcomes = await send_mails(self._session, [each.send for each in admitted], allowance)
        gone: list[Journey] = []
        for each, outcome in zip(admitted, outcomes, strict=True):
            if isinstance(outcome, EmailLimitReached):
                each.journey.hold(Held.EMAIL_LIMIT, self._moment + _LOOK_AT_LIMIT)
                continue
            ahead = each.ahead
            if isinstance(outcome, SuppressionReason):
                ahead = each.journey.ahead(Circumstances(self._moment, _ANY, outcome))
            each.journey.accept(ahead)
            gone.append(each.journey)
        await self._give_places_back(admitted, outcomes)
        return gone

    async def _admit(self, sending: Sequence["_Sending"]) -> Sequence["_Sending"]:
        """Those whose mail may go now, as the organization's reputation and policy are; the others wait before the step."""
        if not sending:
            return []
        if (await reputation_of(self._session)).holds_mail:
            for each in sending:
                each.journey.hold(Held.REPUTATION, self._moment + _LOOK_AT_REPUTATION)
            return []
        if quiet := quiet_until(self._policy, self._moment):
            for each in sending:
                each.journey.hold(Held.QUIET_HOURS, self._at_the_latest(quiet))
            return []
        wanted = {each.send.message_id: each.send.digest for each in sending}
        free_at = await take_places(self._session, self._policy.frequency_cap, wanted, self._moment)
        for each in sending:
            if each.send.message_id in free_at:
                each.journey.hold(Held.FREQUENCY_CAP, self._at_the_latest(free_at[each.send.message_id]))
        return [each for each in sending if each.send.message_id not in free_at]

    def _at_the_latest(self, until: datetime) -> datetime:
        """When to look again: the policy may be another one before its time has come."""
        return min(until, self._moment + _LOOK_AT_POLICY)

    async def _give_places_back(self, admitted: Sequence["_Sending"], outcomes: Sequence[Outcome]) -> None:
        if self._policy.frequency_cap is not None:
            refused = [
                each.send.message_id
                for each, outcome in zip(admitted, outcomes, strict=True)
                if outcome != each.send.message_id
            ]
            await give_places_back(self._session, refused)


@dataclass(frozen=True, slots=True)
class _Known:
    """What contacts said of somebody, and of the rules that decide on their way, by their paths."""

    described: Description | None
    answers: Mapping[str, bool]


_NOT_ASKED = _Known(None, {})


@dataclass(frozen=True, slots=True)
class _Sending:
    """A mail that is to go before its step counts as taken."""

    journey: Journey
    ahead: Advance
    send: Send

    @classmethod
    def of(cls, journey: Journey, ahead: Advance, effect: Effect, recipient: Recipient) -> "_Sending":
        """The mail of this effect."""
        mail = journey.program.mails[effect.step_id]
        send = Send(
            effect.id,
            journey.id,
            journey.claimed.workflow_id,
            effect.step_id,
            mail.id,
            recipient.contact_id,
            recipient.email,
            recipient.digest,
            _merged(mail.merge_fields, recipient),
        )
        return cls(journey, ahead, send)


def _merged(fields: MergeFields, recipient: Recipient) -> str | None:
    """Of what was asked for all mails of the set, what this one names."""
    if not fields:
        return None
    known = recipient.custom_fields
    named = {key: known[key] for key in fields.custom_fields if key in known}
    return fields.of_recipient(replace(recipient, custom_fields=named))


class _Asked:
    """What is asked of contacts at once: of people in one version of a workflow, each rule once, whomever it may fit.

    The rules of a version are checked to be no more than a request may hold, but for their number.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self.journeys: list[Journey] = []
        self.rules: list[Rule] = []
        self.custom_fields: set[str] = set()
        self.questions: list[Question] = []

    @classmethod
    def of(cls, journeys: Sequence[Journey]) -> Sequence["_Asked"]:
        """What is asked about all of them."""
        asked: dict[int, _Asked] = {}
        full: list[_Asked] = []
        for journey in journeys:
            number = journey.claimed.enrollment.version
            one = asked.setdefault(number, cls())
            if len(one.rules) + len(journey.questions) > MOST_RULES:
                full.append(one)
                one = asked[number] = cls()
            one._add(journey)
        return [*full, *asked.values()]

    def answers(self, journey: Journey, described: Description) -> Mapping[str, bool]:
        """What is answered to a journey's questions, by their paths."""
        if not isinstance(described, Person):
            return {}
        return {path: self._place(rule) in described.fitting for path, rule in journey.questions.items()}

    def _add(self, journey: Journey) -> None:
        if mail := journey.program.mails.get(journey.place.step_id):
            self.custom_fields.update(mail.merge_fields.custom_fields)
        claimed = journey.claimed
        rules = sorted({self._place(rule) for rule in journey.questions.values()})
        self.questions.append(Question(claimed.enrollment.contact_id, claimed.change_id, rules))
        self.journeys.append(journey)

    def _place(self, rule: Rule) -> int:
        said = rule.SerializeToString(deterministic=True)
        if said not in self._places:
            self._places[said] = len(self.rules)
            self.rules.append(rule)
        return self._places[said]
