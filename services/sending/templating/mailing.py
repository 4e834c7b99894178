"""What a mail says: subject, HTML and text, each a template, or as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from chassis.errors import FieldViolation, InvalidRequest
from services.sending.templating.language import HTML, TEXT, Language
from services.sending.templating.steps import Writer
from services.sending.templating.template import Template

# Compiles a text, as `Template.compile` does.
Compile: TypeAlias = Callable[[str, str, Language], Template]


class Words(Protocol):
    """A part of a mail, for whoever it goes to."""

    @property
    def literals(self) -> frozenset[str]:
        """Texts that are the same for everybody."""

    @property
    def is_literal(self) -> bool:
        """Whether there is nothing else."""

    def render(self, data: Mapping[str, object], writer: Writer) -> None:
        """Write what is said to this recipient. Raises TemplateError."""

    def text(self, data: Mapping[str, object]) -> str:
        """The same as one text. Raises TemplateError."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Words that are no template, whatever is in them."""

    words: str

    @property
    def literals(self) -> frozenset[str]:
        """All of it."""
        return frozenset({self.words})

    @property
    def is_literal(self) -> bool:
        """It is."""
        return True

    def render(self, data: Mapping[str, object], writer: Writer) -> None:
        """Write it."""
        writer.write(self.words)

    def text(self, data: Mapping[str, object]) -> str:
        """The words."""
        return self.words


@dataclass(frozen=True, slots=True)
class Mailing:
    """What is said in a mail to many, or to one."""

    subject: Words
    html: Words
    text: Words

    @classmethod
    def verbatim(cls, subject: str, html: str, text: str) -> "Mailing":
        """Of words as they are."""
        return cls(Verbatim(subject), Verbatim(html), Verbatim(text))


def compile_mailing(
    subject: str, html: str, text: str, compiled_by: Compile = Template.compile
) -> tuple[Mailing, frozenset[tuple[str, ...]]]:
    """A mailing of templates, and the paths that they name. Raises InvalidRequest that tells what is wrong in each of the fields."""
    violations: list[FieldViolation] = []
    compiled: list[Template] = []
    for field, source, language in (("subject", subject, TEXT), ("html", html, HTML), ("text", text, TEXT)):
        try:
            compiled.append(compiled_by(field, source, language))
        except InvalidRequest as refused:
            violations += refused.violations
    if violations:
        raise InvalidRequest(*violations)
    return Mailing(*compiled), frozenset().union(*(template.paths for template in compiled))
