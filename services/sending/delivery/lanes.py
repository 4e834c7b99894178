"""Lanes: what one relay sends to one mailbox provider, and how fast that goes.

A lane that has to wait keeps nobody else waiting: nothing of it is begun, so it takes no connection. Providers that many people
have, and those that have said that it is too much, have connections to themselves for as long as they use them, and never all
of them; the others, which nobody has reason to keep apart, share theirs.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from datetime import timedelta

from services.sending.delivery.pace import Pace, Ticket
from services.sending.delivery.providers import is_well_known, provider_of
from services.sending.delivery.replies import Reply, Verdict, put_back
from services.sending.delivery.slowdowns import About, about

# The lanes that share their connections, and in figures all that are not well known.
OTHERS = "others"
# Of those longest unused the figures are forgotten.
_MOST_LANES = 4_096
# So many temporary refusals on end, whatever their words, are about more than their messages.
_MANY_ON_END = 10
# What is put back for longer would come late to a lane that has recovered; for less, a large campaign would be put back all the time.
_LONGEST_WAIT_SECONDS = 900.0


class Lane:
    """The way to one provider through one relay."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.pace = Pace()
        # The refusal that it was last slowed down by.
        self.slowed_by = ""
        self._well_known = is_well_known(provider)
        self._refused_on_end = 0
        self._booked_until = 0.0

    @property
    def track(self) -> str:
        """Whom it shares connections with."""
        return self.provider if self._well_known or self.pace.limit is not None else OTHERS

    @property
    def label(self) -> str:
        """Its name in figures, of which there are only as many as there are well-known providers."""
        return self.provider if self._well_known else OTHERS

    def answered(self, ticket: Ticket, reply: Reply, now: float) -> About:
        """Learn from the reply to a message; answers whom it tells to slow down, if it is news: nobody when MESSAGE."""
        if reply.code // 100 == 2:
            self.pace.accepted(ticket, now)
        told = self._told_by(reply)
        if told is About.LANE:
            self.slowed_by = reply.shown
            return About.LANE if self.pace.refused(ticket, now) else About.MESSAGE
        self.pace.ended(ticket)
        return told

    def put_back(self, now: float) -> Verdict:
        """On a message that cannot begin now: it comes again once it can, each later than the one before."""
        begins = max(now + self.pace.wait(now), self._booked_until)
        self._booked_until = min(begins + 1 / (self.pace.limit or math.inf), now + _LONGEST_WAIT_SECONDS)
        why = f"mail to {self.provider} has to slow down: {self.slowed_by}"
        return put_back(why, timedelta(seconds=begins - now))

    def _told_by(self, reply: Reply) -> About:
        if reply.code // 100 != 4:
            self._refused_on_end = 0
            return About.MESSAGE
        self._refused_on_end += 1
        return about(reply, self.provider) or (
            About.LANE if self._refused_on_end >= _MANY_ON_END else About.MESSAGE
        )


class Lanes:
    """The lanes of one relay, of as many providers as fit."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, Lane] = OrderedDict()

    def to(self, domain: str) -> Lane:
        """The lane to the provider of a domain."""
        provider = provider_of(domain)
        lane = self._lanes.get(provider)
        if lane is None:
            lane = self._lanes[provider] = Lane(provider)
            if len(self._lanes) > _MOST_LANES:
                self._lanes.popitem(last=False)
        self._lanes.move_to_end(provider)
        return lane

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())
