"""PostgreSQL takes in every connection that the processes of an overlay may open, all of them at work and each being rolled out."""

import ast
import inspect
from importlib.resources import files
from typing import Any

import pytest

from chassis.database import Database, RoleDatabase
from deploy.k8s.check.objects import Object
from deploy.k8s.check.tests.built import built
from deploy.k8s.check.trees import Tree
from deploy.processes import PROCESSES, package_of

# For Jobs, for whoever looks after it, and for servers that follow.
_OTHERS = 20
_POOLS = {
    pool.__name__: inspect.signature(pool).parameters["pool_size"].default
    for pool in (Database, RoleDatabase)
}


@pytest.mark.parametrize("overlay", ["local", "staging", "production"])
def test_there_are_as_many_connections_as_processes_may_open(overlay: str) -> None:
    tree = built(f"overlays/{overlay}")
    opened = sum(
        connections_of(process) * most_of(tree, workload)
        for process, (workload, _) in tree.processes.items()
        if process != "gateway"
    )
    assert opened + _OTHERS <= taken_in(tree)


def test_the_pools_of_each_process_are_counted() -> None:
    assert connections_of("delivery") == 16
    assert all(connections_of(process) > 10 for process in PROCESSES if process != "gateway")


def connections_of(process: str) -> int:
    """What a process opens at most: the sizes of the pools that its server makes."""
    module = ast.parse(files(package_of(process)).joinpath("server.py").read_text())
    constants = {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return sum(
        size_of(call, call.func.id, constants)
        for call in ast.walk(module)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in _POOLS
    )


def size_of(call: ast.Call, pool: str, constants: dict[str, Any]) -> int:
    size = next((given.value for given in call.keywords if given.arg == "pool_size"), None)
    if size is None:
        return int(_POOLS[pool])
    return (
        int(ast.literal_eval(size)) if isinstance(size, ast.Constant) else int(constants[ast.unparse(size)])
    )


def most_of(tree: Tree, workload: Object) -> int:
    """How many pods there are of it at the most."""
    surge = workload.spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
    for scaler in tree.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        if scaler.spec["scaleTargetRef"]["name"] == workload.name:
            most = scaler.spec.get("maxReplicas") or scaler.spec["maxReplicaCount"]
            return int(most + surge)
    return int(workload.spec["replicas"] + surge)


def taken_in(tree: Tree) -> int:
    """What the server of an overlay is told."""
    if cluster := tree.named("Cluster", "postgresql"):
        return int(cluster.spec["postgresql"]["parameters"]["max_connections"])
    server = tree.named("StatefulSet", "postgresql")
    assert server is not None
    assert server.pod is not None
    (container,) = server.pod.containers
    (told,) = (word for word in container["args"] if word.startswith("max_connections="))
    return int(told.removeprefix("max_connections="))
