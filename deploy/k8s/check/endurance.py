"""Each process has what it needs, survives the loss of a node, and gets to end what it has begun."""

from chassis.consumer import FINISH_WITHIN_SECONDS
from chassis.rpc.server import GRACE_SECONDS
from deploy.k8s.check.code import fields_of
from deploy.k8s.check.environment import container_of, variables
from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import NAME, Content, Pod, matches
from deploy.k8s.check.trees import Tree

# What a process has in hand besides calls and events is written down, or given back.
_TIDYING_UP_SECONDS = 15
# For endpoints to be gone, and for answers of the DNS to be forgotten.
_LEAST_NOTICE_SECONDS = 7
_APART = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def containers_say_what_they_take(tree: Tree) -> Told:
    """So that a node takes in what it has room for, and one that grows beyond measure ends alone."""
    for each, pod in tree.pods:
        for container in pod.containers:
            resources = container.get("resources", {})
            lacking = [key for key in ("cpu", "memory") if key not in resources.get("requests", {})]
            if lacking:
                yield (
                    each,
                    f"container {container['name']} does not say what {' and '.join(lacking)} it takes: set resources.requests",
                )
            if "memory" not in resources.get("limits", {}):
                yield (
                    each,
                    f"container {container['name']} may take all memory of its node: set resources.limits.memory",
                )


def one_at_a_time_is_taken_away(tree: Tree) -> Told:
    """A disruption budget is for each process, and lets a node be emptied."""
    for process, (each, pod) in tree.processes.items():
        budgets = [
            budget
            for budget in tree.of_kind("PodDisruptionBudget")
            if matches(budget.spec.get("selector"), pod.labels)
        ]
        if len(budgets) != 1:
            yield each, f"is in {len(budgets)} disruption budgets: {process} needs one, of its own"
        for budget in budgets:
            if budget.spec.get("maxUnavailable") != 1:
                yield budget, "does not let just one pod go at a time: set maxUnavailable: 1"


def pods_stand_apart(tree: Tree) -> Told:
    """As far as there are zones and nodes."""
    for process, (each, pod) in tree.processes.items():
        spread = {
            constraint["topologyKey"]
            for constraint in pod.spec.get("topologySpreadConstraints", ())
            if _counts_its_own(constraint, pod, process)
        }
        for key in _APART:
            if key not in spread:
                yield each, f"may have all its pods at one {key}: spread those of {process} by it"


def _counts_its_own(constraint: Content, pod: Pod, process: str) -> bool:
    selector = constraint.get("labelSelector")
    alone = (
        NAME in constraint.get("matchLabelKeys", ())
        or (selector or {}).get("matchLabels", {}).get(NAME) == process
    )
    return alone and matches(selector, pod.labels)


def releases_replace_each_other(tree: Tree) -> Told:
    """A new pod is ready before an old one goes, but where each has a volume."""
    for each, _ in tree.processes.values():
        rolling = each.spec.get("strategy", {}).get("rollingUpdate", {})
        if each.kind == "Deployment" and rolling != {"maxUnavailable": 0, "maxSurge": 1}:
            yield each, "may lack a pod while it is rolled out: set maxUnavailable: 0 and maxSurge: 1"
        if each.kind == "StatefulSet" and each.spec.get("podManagementPolicy") != "Parallel":
            yield each, "starts one pod after the other: set podManagementPolicy: Parallel"


def pods_get_to_end(tree: Tree) -> Told:
    """Nobody calls a pod any more when it begins to drain, and it is not killed before it is done."""
    for process, (each, pod) in tree.processes.items():
        stop = container_of(process, pod).get("lifecycle", {}).get("preStop", {})
        notice = stop.get("sleep", {}).get("seconds", 0)
        if notice < _LEAST_NOTICE_SECONDS:
            yield (
                each,
                f"drains {notice} s after it is told to end, when it is called still: let preStop sleep {_LEAST_NOTICE_SECONDS} s or more",
            )
        needed = notice + GRACE_SECONDS + FINISH_WITHIN_SECONDS + _TIDYING_UP_SECONDS
        if pod.spec.get("terminationGracePeriodSeconds", 30) < needed:
            yield (
                each,
                f"is killed while it drains: set terminationGracePeriodSeconds to {needed:.0f} or more",
            )


def what_must_outlive_a_pod_does(tree: Tree) -> Told:
    """The folder that a process needs to find again is on a volume that its pod comes back to."""
    for process, (each, pod) in tree.processes.items():
        if "JOURNAL_FOLDER" not in fields_of(process):
            continue
        container = container_of(process, pod)
        told = {variable.name: variable.value for variable in variables(tree, container)}
        claims = {claim["metadata"]["name"] for claim in each.spec.get("volumeClaimTemplates", ())}
        kept = {mount["mountPath"] for mount in container.get("volumeMounts", ()) if mount["name"] in claims}
        if told.get("JOURNAL_FOLDER") not in kept:
            yield (
                each,
                "has its journal where it is lost with the pod: mount a volumeClaimTemplate at JOURNAL_FOLDER",
            )


RULES = (
    containers_say_what_they_take,
    one_at_a_time_is_taken_away,
    pods_stand_apart,
    releases_replace_each_other,
    pods_get_to_end,
    what_must_outlive_a_pod_does,
)
