"""Who reaches whom is what the code calls: by the policies of network, as the cluster would judge them, both ways."""

from collections.abc import Iterator, Mapping
from itertools import product

from deploy.k8s.check.code import calls_of, seals, ways_out_of
from deploy.k8s.check.environment import container_of, variables
from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import COMPONENT, Content, Object, Pod, matches
from deploy.k8s.check.trees import Tree
from deploy.processes import PROCESSES

_DIRECTIONS = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}
_WAY = "reaches-"


def nothing_is_open_by_itself(tree: Tree) -> Told:
    """Every pod is under a policy for what comes in, and under one for what goes out, even if it allows nothing."""
    for each, pod in tree.pods:
        for direction in _DIRECTIONS:
            if not any(True for _ in _policies(tree, direction, pod.labels)):
                yield (
                    each,
                    f"is under no policy for {direction}: deny by default, for all pods of the namespace",
                )


def calls_are_the_edges(tree: Tree) -> Told:
    """A process gets through to those that it calls, and to no other; and so its callers to it."""
    for caller, called in product(tree.processes, repeat=2):
        pod = tree.processes[called][1]
        for port in container_of(called, pod).get("ports", ()):
            yield from _of_an_edge(tree, caller, called, (port["name"], port["containerPort"]))


def _of_an_edge(tree: Tree, caller: str, called: str, port: tuple[str, int]) -> Told:
    (name, number), (begin, from_pod), (end, to_pod) = port, tree.processes[caller], tree.processes[called]
    wanted = name == "grpc" and called in calls_of(caller)
    goes_out = _lets(tree, "Egress", from_pod, to_pod, port)
    comes_in = _lets(tree, "Ingress", to_pod, from_pod, port)
    if wanted and not goes_out:
        yield (
            begin,
            f"calls {called}, and no policy lets it out to port {number}: add it to egress of {caller}",
        )
    if wanted and not comes_in:
        yield end, f"is called by {caller}, and no policy lets it in: add it to ingress of {called}"
    if goes_out and not wanted:
        yield (
            begin,
            f"does not call {called} at {name}, and a policy lets it out there: take it from egress of {caller}",
        )
    # What the world may reach, everybody may.
    if comes_in and not wanted and name in ("grpc", "metrics"):
        yield (
            end,
            f"is not called by {caller} at {name}, and a policy lets it in: take it from ingress of {called}",
        )


def ways_out_are_those_that_are_needed(tree: Tree) -> Told:
    """A pod is labelled for the ways out that it needs, and for no other; and each way is there, with ports."""
    for process, (each, pod) in tree.processes.items():
        needed, allowed = set(ways_out_of(process)), set(ways_out_of(process))
        told = {variable.name: variable.value for variable in variables(tree, container_of(process, pod))}
        if seals(process):
            allowed.add("https")
        if told.get("KEY_ENCRYPTION") == "aws-kms":
            needed.add("https")
        labelled = _labelled(pod.labels)
        for way in sorted(needed - labelled):
            yield each, f'reaches {way}, and is not labelled so: label its pods {_WAY}{way}: "true"'
        for way in sorted((labelled - allowed) & {way for other in PROCESSES for way in ways_out_of(other)}):
            yield each, f"is labelled {_WAY}{way}, and does not need it: take the label away"
    for each, pod in tree.pods:
        for way in sorted(_labelled(pod.labels)):
            if not _leads_out(tree, way):
                yield each, f"is labelled {_WAY}{way}, and no policy is for it: add one that names the ports"


def who_is_let_out_by_name_is_let_in(tree: Tree) -> Told:
    """Where what is reached stands here as well, as servers of an overlay may, it lets in whoever may get to it."""
    for each, pod in tree.pods:
        for other, others_pod in tree.pods:
            # Between processes, the calls say it.
            if others_pod.labels.get(COMPONENT) == "process":
                continue
            for number in sorted(_let_out_by_name(tree, pod, others_pod)):
                if not _lets(tree, "Ingress", others_pod, pod, (_port_name(others_pod, number), number)):
                    yield (
                        other,
                        f"is reached by {each.name} at port {number}, and no policy lets that in: add it to ingress of {other.name}",
                    )


def _let_out_by_name(tree: Tree, pod: Pod, other: Pod) -> set[int]:
    return {
        port["port"]
        for policy in _policies(tree, "Egress", pod.labels)
        for rule in policy.spec.get("egress", ())
        if rule.get("to") and _names(rule, "to", other.labels)
        for port in rule.get("ports", ())
        if isinstance(port.get("port"), int)
    }


def _port_name(pod: Pod, number: int) -> str:
    named = (port for container in pod.containers for port in container.get("ports", ()))
    return next((port.get("name", "") for port in named if port["containerPort"] == number), "")


def names_can_be_looked_up(tree: Tree) -> Told:
    """Whoever reaches anybody finds them by name."""
    for each, pod in tree.pods:
        asks = (
            rule for policy in _policies(tree, "Egress", pod.labels) for rule in policy.spec.get("egress", ())
        )
        if not any(_is_port(port, "", 53) for rule in asks for port in rule.get("ports", ())):
            yield each, "cannot ask the DNS: let it out to port 53 of kube-dns"


def _labelled(labels: Mapping[str, str]) -> set[str]:
    return {
        label.removeprefix(_WAY)
        for label, value in labels.items()
        if label.startswith(_WAY) and value == "true"
    }


def _leads_out(tree: Tree, way: str) -> bool:
    return any(
        bool(rule.get("ports"))
        for policy in _policies(tree, "Egress", {f"{_WAY}{way}": "true"})
        if policy.spec["podSelector"]
        for rule in policy.spec.get("egress", ())
    )


def _policies(tree: Tree, direction: str, labels: Mapping[str, str]) -> Iterator[Object]:
    return (
        policy
        for policy in tree.of_kind("NetworkPolicy")
        if direction in policy.spec.get("policyTypes", ("Ingress",))
        and matches(policy.spec.get("podSelector"), labels)
    )


def _lets(tree: Tree, direction: str, whose: Pod, other: Pod, port: tuple[str, int]) -> bool:
    """Whether a policy of one side lets the other one through, at a port of the side that is called."""
    rules, peers = _DIRECTIONS[direction]
    return any(
        _names(rule, peers, other.labels)
        and (not rule.get("ports") or any(_is_port(each, *port) for each in rule["ports"]))
        for policy in _policies(tree, direction, whose.labels)
        for rule in policy.spec.get(rules, ())
    )


def _names(rule: Content, peers: str, labels: Mapping[str, str]) -> bool:
    """Whether a rule is for pods of this namespace with these labels. Addresses are for what is outside."""
    return not rule.get(peers) or any(
        matches(peer.get("podSelector"), labels) for peer in rule[peers] if "namespaceSelector" not in peer
    )


def _is_port(port: Content, name: str, number: int) -> bool:
    given = port.get("port", number)
    return given == name or (isinstance(given, int) and given <= number <= port.get("endPort", given))


RULES = (
    nothing_is_open_by_itself,
    calls_are_the_edges,
    ways_out_are_those_that_are_needed,
    who_is_let_out_by_name_is_let_in,
    names_can_be_looked_up,
)
