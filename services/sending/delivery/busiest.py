"""Whose mail keeps delivery busy: the organizations with the most messages of late, and never more than a few of them.

A figure for each organization would be as many series as there are customers. Of some hundred that are counted the one with the least
makes way for one that is new, and hands its count on (Metwally et al., *space saving*, 2005): who has more than a hundredth of all is
never missed, and nobody's count is too low.
"""

from collections import Counter
from collections.abc import Iterator
from time import monotonic
from uuid import UUID

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_COUNTED = 100
_SHOWN = 10
_PERIOD_SECONDS = 300.0


class Busiest(Collector):
    """Counts handed over messages by organization; shows the most of the last five minutes that are over."""

    def __init__(self) -> None:
        self._counting: Counter[UUID] = Counter()
        self._over: Counter[UUID] = Counter()
        self._ends = monotonic() + _PERIOD_SECONDS

    def count(self, organization: UUID, messages: int) -> None:
        """So many more of an organization's."""
        self._turn_over(monotonic())
        counting = self._counting
        if organization not in counting and len(counting) >= _COUNTED:
            least = min(counting, key=counting.__getitem__)
            counting[organization] = counting.pop(least)
        counting[organization] += messages

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is so now."""
        self._turn_over(monotonic())
        family = GaugeMetricFamily(
            "flownurture_busiest_organizations_messages",
            "Messages handed over in the last five minutes that are over, of the ten organizations with the most.",
            labels=["organization"],
        )
        for organization, messages in self._over.most_common(_SHOWN):
            family.add_metric([str(organization)], messages)
        yield family

    def _turn_over(self, now: float) -> None:
        if now < self._ends:
            return
        # What ended before the last period is over for good.
        self._over = self._counting if now < self._ends + _PERIOD_SECONDS else Counter()
        self._counting = Counter()
        self._ends = now + _PERIOD_SECONDS
