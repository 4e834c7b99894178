"""What each pod may not have, named after who says so.

PSS is the Pod Security standard "restricted", which the API server enforces as well; CIS the benchmark's section 5; NSA the hardening
guide of NSA and CISA. Only what can be read off an object is here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import Content, Pod
from deploy.k8s.check.trees import Tree

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_ENFORCED = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True, slots=True)
class _Demand:
    """What is demanded of a container within its pod: who demands it, whether it is so, and what to do where it is not."""

    source: str
    holds: Callable[[Content, Pod], bool]
    remedy: str


def _of_either(key: str, container: Content, pod: Pod) -> object:
    """What a container says of itself, or else its pod of all."""
    own = container.get("securityContext", {})
    return own[key] if key in own else pod.spec.get("securityContext", {}).get(key)


def _own(key: str, container: Content) -> object:
    return container.get("securityContext", {}).get(key)


def _seccomp(container: Content, pod: Pod) -> bool:
    profile = _of_either("seccompProfile", container, pod)
    return isinstance(profile, dict) and profile.get("type") in ("RuntimeDefault", "Localhost")


def _capabilities(container: Content, _: Pod) -> bool:
    given = container.get("securityContext", {}).get("capabilities", {})
    return "ALL" in given.get("drop", ()) and set(given.get("add", ())) <= {"NET_BIND_SERVICE"}


def _is_released(container: Content, _: Pod) -> bool:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@sha256:" in image or tag not in ("", "latest")


_DEMANDS = (
    _Demand(
        "PSS, CIS 5.2.7",
        lambda c, p: _of_either("runAsNonRoot", c, p) is True,
        "runs as root: set runAsNonRoot: true",
    ),
    _Demand(
        "PSS",
        lambda c, p: bool(_of_either("runAsUser", c, p)),
        "has no user of its own: set runAsUser, not 0",
    ),
    _Demand(
        "PSS, CIS 5.2.6",
        lambda c, _: _own("allowPrivilegeEscalation", c) is False,
        "may gain privileges: set allowPrivilegeEscalation: false",
    ),
    _Demand("PSS, CIS 5.2.2", lambda c, _: not _own("privileged", c), "is privileged: take privileged away"),
    _Demand("PSS, CIS 5.2.10", _capabilities, "has capabilities: drop ALL, and add none"),
    _Demand("PSS, CIS 5.7.2", _seccomp, "may make any system call: set seccompProfile.type: RuntimeDefault"),
    _Demand(
        "NSA",
        lambda c, _: _own("readOnlyRootFilesystem", c) is True,
        "can write to its image: set readOnlyRootFilesystem: true, and mount an emptyDir where it has to write",
    ),
    _Demand(
        "PSS, CIS 5.2.13",
        lambda c, _: not any("hostPort" in port for port in c.get("ports", ())),
        "takes a port of its node: take hostPort away",
    ),
    _Demand(
        "CIS 5.5.1",
        _is_released,
        "has an image that may be another one tomorrow: name a tag that is not latest, or a digest",
    ),
    _Demand(
        "CIS 5.4.1",
        lambda c, _: (
            not any("value" in variable and _sounds_secret(variable["name"]) for variable in c.get("env", ()))
        ),
        "has a secret in its manifest: refer to the key of a Secret",
    ),
)


def _sounds_secret(variable: str) -> bool:
    return variable.endswith(("PASSWORD", "TOKEN", "SECRET", "PRIVATE_KEY", "_KEYS")) or variable.startswith(
        "DATABASE_"
    )


def pods_are_restricted(tree: Tree) -> Told:
    """Every container of every pod, ours and others'."""
    for each, pod in tree.pods:
        for container in pod.containers:
            for demand in _DEMANDS:
                if not demand.holds(container, pod):
                    yield each, f"container {container['name']} {demand.remedy} ({demand.source})"
        yield from ((each, problem) for problem in _of_the_pod(pod))


def _of_the_pod(pod: Pod) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield f"shares what is its node's: take {key} away (PSS, CIS 5.2.3-5)"
    for volume in pod.spec.get("volumes", ()):
        if not set(volume) - {"name"} <= _VOLUMES:
            yield f"mounts {volume['name']} from its node: use an emptyDir or a claim (PSS)"
    if pod.spec.get("serviceAccountName", "default") == "default":
        yield "has no account of its own: set serviceAccountName (CIS 5.1.5)"
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "can speak to the API server: set automountServiceAccountToken: false (CIS 5.1.6)"
    if pod.spec.get("enableServiceLinks") is not False:
        yield "is told of every Service by variables: set enableServiceLinks: false"


def accounts_have_no_token(tree: Tree) -> Told:
    """Of those that pods here use."""
    for account in tree.of_kind("ServiceAccount"):
        if account.content.get("automountServiceAccountToken") is not False:
            yield account, "hands its token to every pod: set automountServiceAccountToken: false (CIS 5.1.6)"


def the_namespace_is_restricted(tree: Tree) -> Told:
    """So that the API server refuses what this does not see."""
    for namespace in tree.of_kind("Namespace"):
        if namespace.labels.get(_ENFORCED) != "restricted":
            yield namespace, f"takes in any pod: label it {_ENFORCED}: restricted (PSS)"


def objects_have_a_namespace(tree: Tree) -> Told:
    """Nothing lands wherever somebody happens to be."""
    for each in tree.objects:
        if each.pod is not None and each.metadata.get("namespace", "default") == "default":
            yield each, "lands in any namespace: let its kustomization name one (CIS 5.7.4)"


RULES = (
    pods_are_restricted,
    accounts_have_no_token,
    the_namespace_is_restricted,
    objects_have_a_namespace,
)
