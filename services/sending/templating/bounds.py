"""How much one rendering may do, whatever its template says: characters handled, tags run, the size of a value.

A mailing goes to a million people on an event loop that serves all tenants: so not time is bounded, which depends on the
machine, but work, which does not.
"""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, TextIO

from liquid import RenderContext
from liquid.exceptions import FilterArgumentError, LiquidError, ResourceLimitError
from liquid.filter import with_context

# Characters: of what is written in all, and of a single value.
MOST_OUTPUT = 2_000_000
MOST_OF_A_VALUE = 100_000
# A unit is a character that is read or made; running a tag is worth as much as a hundred of them.
_MOST_WORK = 2_000_000
_TAG = 100
# Numbers are for people to read.
_MOST_BITS = 128
_MOST_DIGITS = 30
_LONGEST_DATE = 200

Filter = Callable[..., Any]


class TooLong(ResourceLimitError):
    """What a template writes is no mail any more."""

    def __init__(self) -> None:
        super().__init__(f"a mail has at most {MOST_OUTPUT:,} characters", token=None)


class Context(RenderContext):
    """A rendering under way, and how much it may still do."""

    __slots__ = ("_work_left",)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._work_left = _MOST_WORK

    def spend(self, units: int) -> None:
        """Count work. Raises ResourceLimitError when it is too much."""
        self._work_left -= units
        if self._work_left < 0:
            raise ResourceLimitError("this template does too much for one mail", token=None)

    def enter_loop(self, rounds: int, tags: int) -> None:
        """Count a loop before its first round. Raises ResourceLimitError."""
        self.spend(rounds * tags * _TAG)

    def assign(self, key: str, val: Any) -> None:
        """Keep a value under a name. Raises ResourceLimitError when it is too large."""
        self.spend(weigh(val))
        self.locals[key] = val

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        """Where a block writes whose text becomes a value."""
        return _CountingBuffer(self)


class _CountingBuffer(StringIO):
    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def write(self, text: str, /) -> int:
        self._context.spend(len(text))
        return super().write(text)


def weigh(value: object) -> int:
    """The characters of a value. Raises ResourceLimitError when they are too many."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ResourceLimitError("a number is too large", token=None)
    weight = _weight(value, MOST_OF_A_VALUE)
    if weight > MOST_OF_A_VALUE:
        raise ResourceLimitError(f"a value has more than {MOST_OF_A_VALUE:,} characters", token=None)
    return weight


def bounded(name: str, function: Filter) -> Filter:
    """A filter that counts what it is given and what it makes, and whose failures are the template's, never ours."""
    wants = {word for word in ("context", "environment") if getattr(function, f"with_{word}", False)}
    growth = _GROWTH.get(name)

    @with_context
    def guarded(value: object, *given: object, context: Context, **named: object) -> object:
        offered = {"context": context, "environment": context.env}
        try:
            read = sum(map(weigh, (value, *given, *named.values())))
            context.spend(read * _COST.get(name, 1))
            if growth is not None and growth(value, *given) > MOST_OF_A_VALUE:
                raise ResourceLimitError(f"makes more than {MOST_OF_A_VALUE:,} characters", token=None)
            made = function(value, *given, **named, **{word: offered[word] for word in wants})
            context.spend(weigh(made))
        except LiquidError as error:
            # With this type the library adds where it was.
            told = str(error.message).removeprefix(f"{name}: ")
            raise FilterArgumentError(f"{name}: {told}", token=None) from error
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise FilterArgumentError(f"{name} cannot be applied to this", token=None) from error
        return made

    return guarded


def _weight(value: object, enough: int) -> int:
    """Of a value that is heavier than `enough`, only that it is."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return enough + 1 if value.bit_length() > _MOST_BITS else 1
    if isinstance(value, range):
        return max(0, value.stop - value.start)
    if isinstance(value, dict):
        return _weight_of_all([*value.keys(), *value.values()], enough)
    if isinstance(value, list | tuple):
        return _weight_of_all(value, enough)
    return 1


def _weight_of_all(values: Sequence[object], enough: int) -> int:
    weight = len(values)
    for value in values:
        if weight > enough:
            break
        weight += _weight(value, enough - weight)
    return weight


def _of_replace(value: object, sought: object = "", put: object = "", *_: object) -> int:
    text, part, new = str(value), str(sought), str(put)
    return len(text) + text.count(part) * len(new)


def _of_join(value: object, between: object = " ", *_: object) -> int:
    parts = value if isinstance(value, list | tuple) else ()
    return _weight_of_all(parts, MOST_OF_A_VALUE) + len(parts) * len(str(between))


def _of_round(_: object, digits: object = 0, *__: object) -> int:
    return MOST_OF_A_VALUE + 1 if isinstance(digits, int) and abs(digits) > _MOST_DIGITS else 1


def _of_date(value: object, form: object = "", *_: object) -> int:
    return MOST_OF_A_VALUE + 1 if max(len(str(value)), len(str(form))) > _LONGEST_DATE else 1


# Filters that take longer for a character than others.
_COST: Mapping[str, int] = {"strip_html": 20}
# Filters that make more than a small multiple of what they are given: how much, before they do.
_GROWTH: Mapping[str, Callable[..., int]] = {
    "replace": _of_replace,
    "join": _of_join,
    "round": _of_round,
    "date": _of_date,
}
