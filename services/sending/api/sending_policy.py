"""SendingPolicyService: decode, call the domain, encode."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.sending.v1 import sending_policy_pb2 as pb
from services.sending.clock_times import parse_time, parse_zone
from services.sending.frequency_cap import FrequencyCap
from services.sending.quiet_hours import QuietHours
from services.sending.sending_policy import SendingPolicy, policy_of, quiet_until, set_policy

Parsed = TypeVar("Parsed")


class SendingPolicyApi:
    """What an organization has its campaigns and workflows keep to."""

    service = pb.DESCRIPTOR.services_by_name["SendingPolicyService"]

    async def get_sending_policy(
        self, request: pb.GetSendingPolicyRequest, context: RequestContext, session: TenantSession
    ) -> pb.SendingPolicy:
        """The policy, set or not."""
        return _as_message(await policy_of(session), datetime.now(UTC))

    async def set_sending_policy(
        self, request: pb.SetSendingPolicyRequest, context: RequestContext, session: TenantSession
    ) -> pb.SendingPolicy:
        """Replace it, in force once it is answered; INVALID for a zone or a time that there is not."""
        policy, now = _policy(request), datetime.now(UTC)
        await set_policy(session, policy, now)
        return _as_message(policy, now)


def _policy(request: pb.SetSendingPolicyRequest) -> SendingPolicy:
    zone = _parsed("time_zone", request.time_zone or "UTC", parse_zone)
    hours = None
    if request.HasField("quiet_hours"):
        begin = _parsed("quiet_hours.from", getattr(request.quiet_hours, "from"), parse_time)
        end = _parsed("quiet_hours.until", request.quiet_hours.until, parse_time)
        if begin == end:
            raise InvalidRequest(FieldViolation("quiet_hours.until", "must be another time than from"))
        hours = QuietHours(zone, begin, end)
    cap = None
    if request.HasField("frequency_cap"):
        cap = FrequencyCap(request.frequency_cap.messages, request.frequency_cap.days)
    return SendingPolicy(zone, hours, cap)


def _parsed(field: str, given: str, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(given)
    except ValueError as wrong:
        raise InvalidRequest(FieldViolation(field, str(wrong))) from None


def _as_message(policy: SendingPolicy, now: datetime) -> pb.SendingPolicy:
    message = pb.SendingPolicy(time_zone=policy.zone.key)
    if hours := policy.quiet_hours:
        times = {"from": f"{hours.begin:%H:%M}", "until": f"{hours.end:%H:%M}"}
        message.quiet_hours.CopyFrom(pb.QuietHours(**times))
    if cap := policy.frequency_cap:
        message.frequency_cap.CopyFrom(pb.FrequencyCap(messages=cap.messages, days=cap.days))
    if (until := quiet_until(policy, now)) is not None:
        message.quiet_until.FromDatetime(until)
    return message
