"""Templates: checked when they are saved, compiled once, rendered for each recipient within bounds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from liquid import BoundTemplate
from liquid.builtin.content import ContentNode
from liquid.exceptions import LiquidError, LiquidInterrupt

from chassis.errors import FieldViolation, InvalidRequest
from services.sending.templating.bounds import MOST_OUTPUT, Context, TooLong
from services.sending.templating.language import Language, nodes_within
from services.sending.templating.steps import Rendering, Steps, Writer, steps_of

# What a template may speak of. A contact's fields are named one by one: no others are fetched, kept or sent.
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "campaign": ("id", "name"),
    "contact": ("email", "first_name", "last_name", "custom_fields"),
    "preferences_url": (),
    "unsubscribe_url": (),
    "variables": (),
}
_CUSTOM_FIELDS = ("contact", "custom_fields")
_OF_THE_LANGUAGE = {"now", "today"}

_MOST_MARKS = 5_000
_LONGEST_MARK = 2_000
_DEEPEST_MARK = 20
_MOST_JUNCTORS = 50
# Each is looked for up to the end of the template.
_MOST_RAW_MARKS = 100
_MARK_BEGINS = re.compile(r"\{[{%]")
_RAW_MARK = re.compile(r"\{%-?\s*(?:raw|doc)\b")
_JUNCTOR = re.compile(r"\b(?:and|or)\b")


class TemplateError(InvalidRequest):
    """What a template says cannot be done; tells the field, the line and the column, both from 1 on."""

    def __init__(self, field: str, message: str, source: str, index: int) -> None:
        line = source.count("\n", 0, index) + 1
        column = index - source.rfind("\n", 0, index)
        told = f"line {line}, column {column}: {message}"
        super().__init__(FieldViolation(field, told), message=f"The template cannot be used. {field}, {told}")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was found good. Raises TemplateError from here on only for what it makes of its data."""

    field: str
    source: str
    # The texts between its marks, and the paths of what it speaks of: ("contact", "custom_fields", "city").
    literals: frozenset[str]
    paths: frozenset[tuple[str, ...]]
    _bound: BoundTemplate
    _steps: Steps

    @classmethod
    def compile(cls, field: str, source: str, language: Language) -> "Template":
        """Read it. `field` is where errors are said to be. Raises TemplateError."""
        _check_marks(field, source)
        try:
            bound = language.from_string(source)
            nodes = list(nodes_within(bound.nodes, Context(bound)))
            analysis = bound.analyze()
        except LiquidError as error:
            # What was still expected at the end is missing there.
            raise _located(field, source, error, len(source)) from error
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise TemplateError(field, "this cannot be read as a template", source, 0) from error
        literals = frozenset(node.text for node in nodes if isinstance(node, ContentNode))
        for name, places in analysis.filters.items():
            if name not in language.filters:
                raise TemplateError(field, f"unknown filter '{name}'", source, places[0].index)
        paths = _paths(field, source, analysis.globals)
        return cls(field, source, literals, paths, bound, steps_of(bound, nodes))

    def render(self, data: Mapping[str, object], writer: Writer) -> None:
        """Write what it says of this data, which is of what JSON has. Raises TemplateError."""
        rendering = Rendering(self._bound, data)
        at = 0
        try:
            for begins, step in self._steps:
                at = begins
                step(rendering, writer)
        except LiquidError as error:
            raise _located(self.field, self.source, error, at) from error
        except LiquidInterrupt as interrupt:
            raise TemplateError(
                self.field, f"there is no loop for this '{interrupt}'", self.source, at
            ) from interrupt
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise TemplateError(
                self.field, "this cannot be done with these values", self.source, at
            ) from error

    def text(self, data: Mapping[str, object]) -> str:
        """What it says of this data, as one text. Raises TemplateError."""
        text = _BoundedText()
        self.render(data, text)
        return text.getvalue()

    @property
    def is_literal(self) -> bool:
        """Whether it says the same to everybody."""
        return all(isinstance(node, ContentNode) for node in self._bound.nodes)


class _BoundedText(StringIO):
    def write(self, text: str, /) -> int:
        if self.tell() + len(text) > MOST_OUTPUT:
            raise TooLong
        return super().write(text)


def _check_marks(field: str, source: str) -> None:
    """Before anything is parsed, which takes a thousand times longer."""
    begins = [found.start() for found in _MARK_BEGINS.finditer(source)]
    if len(begins) > _MOST_MARKS:
        raise TemplateError(field, f"there are more than {_MOST_MARKS:,} tags", source, begins[_MOST_MARKS])
    raw = [found.start() for found in _RAW_MARK.finditer(source)]
    if len(raw) > _MOST_RAW_MARKS:
        raise TemplateError(
            field, f"there are more than {_MOST_RAW_MARKS} tags as this", source, raw[_MOST_RAW_MARKS]
        )
    for begin in begins:
        closing = "}}" if source[begin + 1] == "{" else "%}"
        end = source.find(closing, begin, begin + _LONGEST_MARK)
        if end < 0:
            raise TemplateError(
                field, f"this has no '{closing}' within {_LONGEST_MARK:,} characters", source, begin
            )
        mark = source[begin:end]
        if mark.count("[") + mark.count("(") > _DEEPEST_MARK or len(_JUNCTOR.findall(mark)) > _MOST_JUNCTORS:
            raise TemplateError(field, "this is too involved", source, begin)


def _paths(field: str, source: str, spoken_of: Mapping[str, Sequence[Any]]) -> frozenset[tuple[str, ...]]:
    paths = set()
    for name, places in spoken_of.items():
        if name in _OF_THE_LANGUAGE:
            continue
        for place in places:
            path = _fixed_part(place.segments)
            if misnamed := _misnamed(path):
                raise TemplateError(field, misnamed, source, place.span.index)
            paths.add(path)
    return frozenset(paths)


def _misnamed(path: tuple[str, ...]) -> str | None:
    """What is wrong with the names of a path."""
    name, *rest = path or ("",)
    if name not in _KNOWN:
        return f"'{name}' is not known; known are {', '.join(_KNOWN)}"
    parts = _KNOWN[name]
    if parts and not rest:
        return f"say what of the {name}: {', '.join(f'{name}.{part}' for part in parts)}"
    if parts and rest[0] not in parts:
        return f"'{name}.{rest[0]}' is not known; known are {', '.join(f'{name}.{part}' for part in parts)}"
    if path == _CUSTOM_FIELDS:
        return "say which of the custom fields: contact.custom_fields.key"
    return None


def _fixed_part(segments: Sequence[object]) -> tuple[str, ...]:
    """What is known of a path before there is data: it ends where it goes on by a value."""
    fixed: list[str] = []
    for segment in segments:
        if not isinstance(segment, str):
            break
        fixed.append(segment)
    return tuple(fixed)


def _located(field: str, source: str, error: LiquidError, otherwise: int) -> TemplateError:
    known = error.token is not None and error.token.start_index >= 0
    index = error.token.start_index if known and error.token else otherwise
    return TemplateError(field, str(error.message).replace("\n", " ")[:300], source, min(index, len(source)))
