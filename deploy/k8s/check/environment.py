"""What a container is told by its environment: by itself, by ConfigMaps and by Secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deploy.k8s.check.objects import Content, Pod
from deploy.k8s.check.trees import Tree


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as a container is told it. `source` is a ConfigMap or Secret, `value` None where it is not here to be seen."""

    name: str
    source: str
    key: str
    value: str | None
    secret: bool
    optional: bool
    # Where it is referred to, and not there.
    missing: bool = False


def variables(tree: Tree, container: Content) -> Iterator[Variable]:
    """What a container is told, whatever it comes from."""
    for reference in container.get("envFrom", ()):
        yield from _all_of(tree, reference)
    for entry in container.get("env", ()):
        given = entry.get("valueFrom", {})
        if "value" in entry:
            yield Variable(entry["name"], "", "", entry["value"], secret=False, optional=False)
        elif "configMapKeyRef" in given:
            yield _one_of(
                entry["name"], given["configMapKeyRef"], _data(tree, "ConfigMap", given["configMapKeyRef"])
            )
        elif "secretKeyRef" in given:
            yield _secret(tree, entry["name"], given["secretKeyRef"])
        else:
            # Something of the pod's own, known when it runs.
            yield Variable(entry["name"], "", "", None, secret=False, optional=False)


def _all_of(tree: Tree, reference: Content) -> Iterator[Variable]:
    kind, source = (
        ("Secret", reference["secretRef"])
        if "secretRef" in reference
        else ("ConfigMap", reference["configMapRef"])
    )
    data, secret = _data(tree, kind, source), kind == "Secret"
    if data is None:
        yield Variable("", source["name"], "", None, secret=secret, optional=False, missing=True)
    for key, value in (data or {}).items():
        name = reference.get("prefix", "") + key
        yield Variable(name, source["name"], key, None if secret else value, secret=secret, optional=False)


def _one_of(name: str, reference: Content, data: Mapping[str, str] | None) -> Variable:
    value = (data or {}).get(reference["key"])
    optional = bool(reference.get("optional"))
    return Variable(
        name,
        reference["name"],
        reference["key"],
        value,
        secret=False,
        optional=optional,
        missing=value is None,
    )


def _secret(tree: Tree, name: str, reference: Content) -> Variable:
    # Most come from elsewhere. One that is made here has to hold what is asked of it.
    data = _data(tree, "Secret", reference)
    optional = bool(reference.get("optional"))
    missing = data is not None and reference["key"] not in data and not optional
    return Variable(
        name, reference["name"], reference["key"], None, secret=True, optional=optional, missing=missing
    )


def _data(tree: Tree, kind: str, reference: Content) -> Mapping[str, str] | None:
    found = tree.named(kind, reference["name"])
    if found is None:
        return None
    data: dict[str, str] = {**found.content.get("data", {}), **found.content.get("stringData", {})}
    return data


def container_of(process: str, pod: Pod) -> Content:
    """The one of a pod that runs the process: it is named like it."""
    return next(
        (each for each in pod.spec["containers"] if each["name"] == process), pod.spec["containers"][0]
    )
