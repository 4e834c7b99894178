"""Mails as servers and people write them, each with what it means."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.sending.bounces import Kind
from services.sending.feedback.understanding import Shape

_FOLDER = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A mail and its label."""

    name: str
    content: bytes
    kind: Kind
    shape: Shape
    enhanced_status: str


def corpus() -> Iterator[Labelled]:
    """All of them, by name."""
    labels = tomllib.loads((_FOLDER / "labels.toml").read_text("utf-8"))
    for name, label in labels.items():
        yield Labelled(
            name,
            (_FOLDER / f"{name}.eml").read_bytes(),
            Kind(label["kind"]),
            Shape(label["shape"]),
            label.get("enhanced_status", ""),
        )


def mail_named(name: str) -> Labelled:
    """The one of this name."""
    return next(mail for mail in corpus() if mail.name == name)


def mails_on_disk() -> set[str]:
    """The names of all mails that the folder has, labelled or not."""
    return {path.stem for path in _FOLDER.glob("*.eml")}
