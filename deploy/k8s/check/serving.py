"""Ports, Services and probes are those that are served, and who is called is found where it is."""

import json
from collections.abc import Iterator

from deploy.k8s.check.code import ANSWERS, fields_of, ports_of, readers
from deploy.k8s.check.environment import container_of, variables
from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import COMPONENT, NAME, Content, Object, Pod, matches
from deploy.k8s.check.trees import Tree
from deploy.processes import PROCESSES, package_of, service_of

_EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - what a container listens on
# What each probe may ask: to be alive is to answer, to be ready is to say so.
_PROBES = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def processes_are_those_of_the_platform(tree: Tree) -> Told:
    """Each has a workload that runs it from its image, and nothing else claims to be one."""
    for process in PROCESSES:
        if process not in tree.processes:
            yield process, f"nothing runs it: add a folder with what runs {package_of(process)}"
    for name in tree.labelled.keys() - set(PROCESSES):
        yield (
            tree.labelled[name][0],
            f"runs {name}, which is no process of the platform: take it away, or label it otherwise",
        )
    for name, (each, pod) in tree.processes.items():
        container = container_of(name, pod)
        if container.get("command") != (command := ["python", "-m", package_of(name), "serve"]):
            yield each, f"does not run {name}: set command to {command}"
        if _image(container) != service_of(name):
            yield (
                each,
                f"runs the image {container.get('image')}: that of {name} is flownurture/{service_of(name)}",
            )
        if each.name != name or container["name"] != name or pod.spec.get("serviceAccountName") != name:
            yield each, f"is not named like its process: call it, its container and its account {name}"


def _image(container: Content) -> str:
    return str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]


def ports_are_those_listened_on(tree: Tree) -> Told:
    """Each port that a process is told to listen on is one of its container's, under its name; and no other is."""
    for process, (each, pod) in tree.processes.items():
        told = {
            variable.name: variable.value or "" for variable in variables(tree, container_of(process, pod))
        }
        ports = {
            port.get("name"): port["containerPort"] for port in container_of(process, pod).get("ports", ())
        }
        for variable, name in ports_of(process).items():
            host, _, number = told.get(variable, "").rpartition(":")
            if host and host not in _EVERYWHERE:
                yield each, f"listens on {host} alone: set {variable} to 0.0.0.0:{number}"
            if str(ports.get(name)) != number:
                yield (
                    each,
                    f"listens on {number or 'no port'} by {variable}, and names {ports.get(name)} {name}: let them agree",
                )
        for name in ports.keys() - set(ports_of(process).values()):
            yield each, f"names a port {name}, on which it does not listen: take it away"


def probes_ask_what_is_answered(tree: Tree) -> Told:
    """Each process is asked whether it has begun, lives and is ready, at a port and a path that answer that."""
    for process, (each, pod) in tree.processes.items():
        container = container_of(process, pod)
        names = set(ports_of(process).values())
        for probe, path in _PROBES.items():
            asked = container.get(probe, {})
            if not ("httpGet" in asked or "grpc" in asked):
                yield each, f"has no {probe}: ask {path} at metrics"
            elif "grpc" in asked and "grpc" not in names:
                yield each, f"is asked by gRPC, which it does not serve: let {probe} ask {path} at metrics"
            elif "httpGet" in asked and not _is_answered(asked["httpGet"], path, names):
                yield (
                    each,
                    f"is asked {asked['httpGet'].get('path')} at {asked['httpGet'].get('port')} by {probe}: ask {path} at metrics",
                )
        if (
            process == "gateway"
            and container.get("readinessProbe", {}).get("httpGet", {}).get("port") != "http"
        ):
            yield (
                each,
                "is ready when it can admit clients, which it says at http: let readinessProbe ask there",
            )


def _is_answered(asked: Content, path: str, names: set[str]) -> bool:
    port = asked.get("port")
    return port in names and asked.get("path") == path and path in ANSWERS.get(str(port), ())


def services_lead_to_their_process(tree: Tree) -> Told:
    """Each process has a Service of its name, for its pods and its ports; headless where callers take turns."""
    for process, (each, pod) in tree.processes.items():
        service = tree.named("Service", process)
        if service is None:
            yield each, f"has no Service: add one named {process}"
            continue
        selector = service.spec.get("selector", {})
        if (
            not all(pod.labels.get(key) == value for key, value in selector.items())
            or selector.get(NAME) != process
        ):
            yield service, f"does not select the pods of {process}: select them by {NAME}"
        strangers = [
            str(other)
            for other, others_pod in tree.pods
            if other is not each and selector and matches({"matchLabels": selector}, others_pod.labels)
        ]
        if strangers:
            yield service, f"selects the pods of {', '.join(strangers)} as well: select by {COMPONENT}, too"
        if process != "gateway" and service.spec.get("clusterIP") != "None":
            yield service, "has one address, behind which connections stay with one pod: set clusterIP: None"
        yield from ((service, problem) for problem in _of_its_ports(service, process, pod))


def _of_its_ports(service: Object, process: str, pod: Pod) -> Iterator[str]:
    numbers = {
        port.get("name"): port["containerPort"] for port in container_of(process, pod).get("ports", ())
    }
    offered = {port.get("name"): port for port in service.spec.get("ports", ())}
    for name, number in numbers.items():
        # Where the name stands for the pods themselves, a port is theirs.
        if name not in offered or (
            service.spec.get("clusterIP") == "None" and offered[name]["port"] != number
        ):
            yield f"does not offer {name} at {number}: add that port"
    for name, port in offered.items():
        if port.get("targetPort", port["port"]) not in (*numbers, *numbers.values()):
            yield f"leads {name} to {port.get('targetPort')}, which is no port of {process}: lead it to one that is"


def targets_are_found(tree: Tree) -> Told:
    """Whom a process calls it is told by the name of their Service and the port of their gRPC."""
    for process, (each, pod) in tree.processes.items():
        for variable in variables(tree, container_of(process, pod)):
            if variable.value is None or variable.name not in fields_of(process):
                continue
            if variable.name.endswith("_TARGET"):
                called = variable.name.removesuffix("_TARGET").lower()
                yield from (
                    (each, problem) for problem in _of_the_target(tree, variable.name, called, variable.value)
                )
            if variable.name.endswith("_TARGETS"):
                yield from (
                    (each, problem) for problem in _of_the_targets(tree, variable.name, variable.value)
                )


def _of_the_target(tree: Tree, variable: str, called: str, target: str) -> Iterator[str]:
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    service = tree.named("Service", host.partition(".")[0])
    numbers = (
        {str(each["port"]) for each in service.spec["ports"] if each.get("name") == "grpc"}
        if service
        else set()
    )
    if host.partition(".")[0] != called or port not in numbers:
        yield f"finds {called} at {target} by {variable}, where it is not: name its Service and the port of gRPC"


def _of_the_targets(tree: Tree, variable: str, value: str) -> Iterator[str]:
    try:
        targets = json.loads(value)
    except json.JSONDecodeError:
        return  # the rule for what is understood tells of it
    for name in sorted(targets.keys() ^ readers()):
        yield f"{'lacks' if name in readers() else 'has'} {name} in {variable}: those are named that read events (deploy/nats/streams.toml)"
    for name, target in targets.items():
        yield from _of_the_target(tree, variable, name, target)


RULES = (
    processes_are_those_of_the_platform,
    ports_are_those_listened_on,
    probes_ask_what_is_answered,
    services_lead_to_their_process,
    targets_are_found,
)
