"""What an object names is there: accounts, ConfigMaps on volumes, whom an autoscaler scales, where a route leads."""

from collections.abc import Iterator

from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import Content, Object, Pod
from deploy.k8s.check.trees import Tree

_ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")


def pods_find_what_they_name(tree: Tree) -> Told:
    """Their account and their ConfigMaps. Secrets come from elsewhere."""
    for each, pod in tree.pods:
        for kind, name in _named_by(pod):
            if tree.named(kind, name) is None:
                yield each, f"names {kind}/{name}, which is not there: add it, or name another"


def _named_by(pod: Pod) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for volume in pod.spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]


def autoscalers_scale_what_is_there(tree: Tree) -> Told:
    """And nobody else says how many there are: each roll-out would set them back."""
    for each in tree.objects:
        target = each.spec.get("scaleTargetRef")
        if target is None:
            continue
        # KEDA means a Deployment where no kind is named.
        kind = target.get("kind", "Deployment")
        scaled = tree.named(kind, target["name"])
        if scaled is None:
            yield each, f"scales {kind}/{target['name']}, which is not there: name what runs the process"
        elif "replicas" in scaled.spec:
            yield scaled, f"says how many pods it has, and {each.kind}/{each.name} does: take replicas away"


def routes_lead_to_services(tree: Tree) -> Told:
    """By name and port."""
    for each in tree.objects:
        for name, port in _backends(each):
            service = tree.named("Service", name)
            ports = (
                [value for given in service.spec["ports"] for value in (given.get("name"), given["port"])]
                if service
                else []
            )
            if port not in ports:
                yield (
                    each,
                    f"leads to port {port} of the Service {name}, which is not there: lead it to one that is",
                )


def _backends(each: Object) -> Iterator[tuple[str, str | int]]:
    if each.kind == "Ingress":
        yield from map(_of_ingress, _ingress_backends(each))
    elif each.kind in _ROUTES:
        for rule in each.spec.get("rules", ()):
            for backend in rule.get("backendRefs", ()):
                yield backend["name"], backend["port"]


def _ingress_backends(each: Object) -> Iterator[Content]:
    if "defaultBackend" in each.spec:
        yield each.spec["defaultBackend"]
    for rule in each.spec.get("rules", ()):
        for path in rule.get("http", {}).get("paths", ()):
            yield path["backend"]


def _of_ingress(backend: Content) -> tuple[str, str | int]:
    service = backend["service"]
    return service["name"], service["port"].get("name") or service["port"]["number"]


RULES = (pods_find_what_they_name, autoscalers_scale_what_is_there, routes_lead_to_services)
