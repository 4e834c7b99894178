"""What must hold in every world that can come about, in the words of the security page and of the README."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from services.sending.model.world import World

# Whether the promise holds in a world; the message at each place is marketing, or not.
Promise: TypeAlias = Callable[[World, tuple[bool, ...]], bool]


def honours_opt_outs(world: World, _: tuple[bool, ...]) -> bool:
    """No claim ends after the acknowledgement with a message to who opted out in it."""
    return not any(message.claimed_after_opt_out for message in world.messages)


def repeats_no_marketing(world: World, marketing: tuple[bool, ...]) -> bool:
    """The relay takes each at most once."""
    return all(
        message.handed_over <= 1 or not is_marketing
        for message, is_marketing in zip(world.messages, marketing, strict=True)
    )


def tells_the_truth(world: World, marketing: tuple[bool, ...]) -> bool:
    """Who is shown as vetoed got nothing, who is shown as sent got it, and nothing is begun whose row has an outcome."""
    return all(
        not message.begun_after_its_end
        and (message.status != "sent" or message.handed_over > 0)
        and (message.status != "vetoed" or message.handed_over == 0 or not is_marketing)
        for message, is_marketing in zip(world.messages, marketing, strict=True)
    )


def is_over(world: World) -> bool:
    """Every message has its one outcome, and the batch is closed."""
    return world.batch.status == "settled" and world.batch.token == 0


PROMISES: Mapping[str, Promise] = {
    "Once a contact opts out, they are suppressed at the delivery layer before any future send.": honours_opt_outs,
    "Marketing mail is never handed over twice by itself.": repeats_no_marketing,
    "What a message's row says is what became of it.": tells_the_truth,
}
# Of all that comes about together: from everywhere `is_over` can be reached, without anything more going wrong.
NOTHING_IS_LOST = (
    "Nothing is lost: each message ends as one outcome, or is open and somebody will look at it."
)
