"""Where Secrets come from a keeper of secrets, all of them do that nobody else makes."""

from collections.abc import Iterator

from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import Pod
from deploy.k8s.check.trees import Tree


def secrets_come_from_somewhere(tree: Tree) -> Told:
    """By an ExternalSecret or, those of certificates, a Certificate."""
    fetched = {secret.name for secret in tree.of_kind("ExternalSecret")}
    if not fetched:
        return
    made = fetched | {str(each.spec["secretName"]) for each in tree.of_kind("Certificate")}
    for each, pod in tree.pods:
        for name in sorted(set(_secrets_of(pod)) - made):
            yield each, f"needs the Secret {name}, which nobody makes: add an ExternalSecret"


def _secrets_of(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        for variable in container.get("env", ()):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield str(variable["valueFrom"]["secretKeyRef"]["name"])
    for volume in pod.spec.get("volumes", ()):
        if "secret" in volume:
            yield str(volume["secret"]["secretName"])
        for source in volume.get("projected", {}).get("sources", ()):
            if "secret" in source:
                yield str(source["secret"]["name"])


RULES = (secrets_come_from_somewhere,)
