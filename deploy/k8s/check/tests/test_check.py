"""Each rule speaks when what it is about is broken, and only then."""

import os
import re
from asyncio import to_thread
from importlib.resources import files
from pathlib import Path
from shutil import copytree

import pytest
import yaml
from typer.testing import CliRunner

from chassis.health import SidePort
from deploy.k8s.check import schemas, variables
from deploy.k8s.check.__main__ import app
from deploy.k8s.check.code import ANSWERS
from deploy.k8s.check.findings import Rule, findings
from deploy.k8s.check.objects import Object
from deploy.k8s.check.rules import RULES, checked
from deploy.k8s.check.tests.breaks import ADDED, BREAKS, Break, changed
from deploy.k8s.check.tests.built import built
from deploy.k8s.check.trees import ROOT, Tree, folders, tree
from deploy.local.probe import is_ready
from deploy.processes import PROCESSES, package_of, settings_of

OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: flownurture
resources: [BASE]
configMapGenerator:
  - {name: platform, behavior: merge, literals: ["PUBLIC_URL=https://api.customer.test"]}
secretGenerator:
  - {name: contacts-owner, literals: ["DATABASE_OWNER_URL=postgresql://owner"]}
images:
  - {name: flownurture/contacts, newName: registry.test/flownurture/contacts}
"""


@pytest.fixture(scope="module")
def base() -> Tree:
    return built("base")


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: f"{broken.rule.__name__}: {broken.said}")
def test_what_is_broken_is_found_where_it_is_and_told_with_what_to_do(broken: Break) -> None:
    whole = built(broken.folder)
    told = [str(finding) for finding in findings(changed(whole, broken), broken.rule)]
    assert any(broken.said in line for line in told), told
    assert not list(findings(whole, broken.rule))


@pytest.mark.parametrize(
    ("added", "rule", "said"), ADDED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_an_overlay_adds_names_what_is_there(base: Tree, added: str, rule: Rule, said: str) -> None:
    overlay = Tree("overlay", [*base.objects, *map(Object, yaml.safe_load_all(added))])
    told = [str(finding) for finding in findings(overlay, rule)]
    assert len(told) == 1
    assert said in told[0]


def test_authorities_of_an_operators_own_may_be_named_to_libraries(base: Tree) -> None:
    rule = variables.variables_are_those_that_are_read
    told = Break(rule, "ConfigMap/contacts", "data SSL_CERT_FILE", "/etc/authorities/ca.crt", "")
    assert not list(findings(changed(base, told), rule))


def test_every_rule_is_broken_by_a_test() -> None:
    assert {broken.rule for broken in BREAKS} | {rule for _, rule, _ in ADDED} == set(RULES)


@pytest.mark.parametrize("folder", folders(ROOT), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_what_is_deployed_is_what_the_code_needs(folder: Path) -> None:
    assert not [str(finding) for finding in checked(built(str(folder.relative_to(ROOT))))]


def test_findings_name_the_file_that_an_object_begins_in(base: Tree) -> None:
    deployment = base.named("Deployment", "contacts")
    assert str(deployment) == "Deployment/contacts (base/contacts/deployment.yaml)"


def test_an_overlay_composes_and_whoever_reads_what_it_says_is_rolled_out_anew(
    base: Tree, tmp_path: Path
) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        OVERLAY.replace("BASE", os.path.relpath(ROOT / "base", tmp_path))
    )
    overlay = tree(tmp_path)
    assert not checked(overlay)
    rolled_out = {
        process
        for process, (_, pod) in overlay.processes.items()
        if pod.spec["containers"] != base.processes[process][1].spec["containers"]
    }
    # It reads nothing that more than one process is told.
    assert rolled_out == set(PROCESSES) - {"feedback"}


def test_the_command_tells_of_a_copy_that_is_broken_and_of_one_that_cannot_be_built(tmp_path: Path) -> None:
    copytree(ROOT / "base", tmp_path / "base")
    life = tmp_path / "base/life/pod.yaml"
    life.write_text(life.read_text().replace("/readyz", "/ready"))
    answer = CliRunner().invoke(app, [str(tmp_path / "base")])
    assert answer.exit_code == 1
    assert (
        "Deployment/contacts (base/contacts/deployment.yaml): is asked /ready at metrics by readinessProbe"
        in answer.stderr
    )
    assert "folders: 1, objects: 78, findings: 10" in answer.stdout
    life.unlink()
    answer = CliRunner().invoke(app, [str(tmp_path / "base")])
    assert answer.exit_code == 1
    assert "life/pod.yaml" in answer.stderr


def test_what_others_bring_is_held_to_the_schema_that_was_added_for_it(
    base: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "ROOT", tmp_path / "deploy/k8s")
    folder = tmp_path / "deploy/k8s/schemas/databases.example"
    folder.mkdir(parents=True)
    (folder / "cluster_v1.json").write_text('{"properties": {"spec": {"required": ["instances"]}}}')
    cluster = {
        "apiVersion": "databases.example/v1",
        "kind": "Cluster",
        "metadata": {"name": "db"},
        "spec": {},
    }
    found = [str(each) for each in findings(Tree("x", [Object(cluster)]), schemas.objects_are_valid)]
    assert found == ['x: Cluster/db: spec: "instances" is a required property']


@pytest.mark.parametrize("process", [process for process in PROCESSES if process != "gateway"])
def test_who_is_told_where_somebody_is_calls_them(process: str) -> None:
    wiring = files(package_of(process)).joinpath("server.py").read_text()
    called = set(re.findall(r'Peer\(\s*settings\.(\w+)_target,\s*"\1"', wiring))
    told = {
        name.removesuffix("_target") for name in settings_of(process).model_fields if name.endswith("_target")
    }
    assert called == told


async def test_probes_are_answered_where_they_ask() -> None:
    async def ready() -> list[str]:
        return []

    async with SidePort("127.0.0.1:0", ready) as side:
        for path in ANSWERS["metrics"]:
            assert await to_thread(is_ready, f"http://127.0.0.1:{side.port}{path}"), path
