"""What a turn of a measurement found, and what several of them say together."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Turn:
    """What it took to get messages out once; processor time by who used it."""

    messages: int
    seconds: float
    processor_seconds: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def processor_microseconds(self, name: str) -> float:
        """What a message took of the processor."""
        return self.processor_seconds[name] / self.messages * 1e6


def together(turns: Sequence[Turn]) -> dict[str, Any]:
    """The median of turns, how far they lie apart, and the processor time of a message."""
    rates = [turn.rate for turn in turns]
    return {
        "messages_per_second": round(median(rates)),
        "spread": [round(min(rates)), round(max(rates))],
        "processor_microseconds": {
            name: round(median(turn.processor_microseconds(name) for turn in turns))
            for name in turns[0].processor_seconds
        },
    }


def times(ours: Sequence[Turn], theirs: Sequence[Turn]) -> float:
    """How many times as fast, as the median of the rounds: a moment in which the machine was busy weighs on one alone."""
    return median(one.rate / other.rate for one, other in zip(ours, theirs, strict=True))


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def say_turn(name: str, turn: Turn) -> None:
    """Tell of a turn."""
    say(f"{name}: {turn.messages:,} messages in {turn.seconds:.2f} s, {turn.rate:,.0f}/s")
