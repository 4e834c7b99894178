"""Objects of Kubernetes, as far as they are looked at: who they are, and the pods that they make."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
_ORIGIN = "config.kubernetes.io/origin"

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """What a controller makes pods from."""

    labels: Mapping[str, str]
    spec: Content

    @property
    def containers(self) -> Iterator[Content]:
        """Those that run, and those that run before them."""
        yield from self.spec.get("initContainers", ())
        yield from self.spec["containers"]


@dataclass(frozen=True)
class Object:
    """One object, and the file that it begins in."""

    content: Content

    def __str__(self) -> str:
        origin = str(self.metadata.get("annotations", {}).get(_ORIGIN, "")).partition(": ")[2]
        return f"{self.kind}/{self.name}" + (f" ({origin.splitlines()[0]})" if origin else "")

    @property
    def kind(self) -> str:
        """Its kind, without the group."""
        return str(self.content["kind"])

    @property
    def metadata(self) -> Content:
        """Who it is."""
        metadata: Content = self.content["metadata"]
        return metadata

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Its own labels."""
        labels: Mapping[str, str] = self.metadata.get("labels", {})
        return labels

    @property
    def spec(self) -> Content:
        """What is wanted of it."""
        spec: Content = self.content.get("spec", {})
        return spec

    @cached_property
    def pod(self) -> Pod | None:
        """What it makes pods from, if it makes any."""
        if self.kind == "Pod":
            return Pod(self.labels, self.spec)
        maker = self.spec["jobTemplate"]["spec"] if self.kind == "CronJob" else self.spec
        template = maker.get("template")
        if not isinstance(template, Mapping) or "containers" not in template.get("spec", {}):
            return None
        return Pod(template.get("metadata", {}).get("labels", {}), template["spec"])


def is_called(given: str, name: str) -> bool:
    """Whether a name is this one, as it is or with the hash that kustomize adds to what it generates."""
    return given == name or bool(re.fullmatch(f"{re.escape(name)}-[a-z0-9]{{10}}", given))


def matches(selector: Content | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects; none selects nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _satisfied(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def _satisfied(expression: Content, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]
