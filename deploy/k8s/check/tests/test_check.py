"""Each rule speaks when what it is about is broken, and only then."""

import os
import re
from asyncio import to_thread
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from chassis.health import SidePort
from deploy.k8s.check import (
    edges,
    endurance,
    hardening,
    jobs,
    provenance,
    references,
    scaling,
    schemas,
    serving,
    variables,
)
from deploy.k8s.check.__main__ import app
from deploy.k8s.check.code import ANSWERS
from deploy.k8s.check.findings import Rule, findings
from deploy.k8s.check.objects import Object, is_called
from deploy.k8s.check.rules import RULES, checked
from deploy.k8s.check.tests.built import built
from deploy.k8s.check.trees import ROOT, Tree, folders, tree
from deploy.local.probe import is_ready
from deploy.processes import PROCESSES, package_of, settings_of

GONE = object()
PRODUCTION = "overlays/production"
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
CONTAINER = "spec template spec containers 0"


@dataclass(frozen=True)
class Break:
    """What is changed of an object, by the way to it, and what is to be said of that."""

    rule: Rule
    object: str
    path: str
    value: Any
    said: str
    # Where what it is about can be found.
    folder: str = "base"


@pytest.fixture(scope="module")
def base() -> Tree:
    return built("base")


BREAKS = [
    Break(schemas.objects_are_valid, "Service/contacts", "spec ports 0 prot", 1, "was unexpected"),
    Break(
        schemas.objects_are_valid,
        "Service/contacts",
        "spec ports 0 port",
        "x",
        "Kubernetes 1.30.0 does not take it",
    ),
    Break(
        schemas.objects_are_valid,
        "Service/contacts",
        "apiVersion",
        "serving.example/v1",
        "add its schema as deploy/k8s/schemas/serving.example/service_v1.json",
    ),
    Break(
        references.pods_find_what_they_name,
        "ServiceAccount/contacts",
        "",
        GONE,
        "names ServiceAccount/contacts, which is not there",
    ),
    Break(
        serving.processes_are_those_of_the_platform,
        "Deployment/contacts",
        "",
        GONE,
        "contacts: nothing runs it",
    ),
    Break(
        serving.processes_are_those_of_the_platform,
        "Deployment/contacts",
        "spec template metadata labels app.kubernetes.io/name",
        "billing",
        "runs billing, which is no process of the platform",
    ),
    Break(
        serving.processes_are_those_of_the_platform,
        "Deployment/contacts",
        f"{CONTAINER} command 2",
        "services.identity",
        "does not run contacts",
    ),
    Break(
        serving.processes_are_those_of_the_platform,
        "StatefulSet/delivery",
        f"{CONTAINER} image",
        "flownurture/delivery:1",
        "that of delivery is flownurture/sending",
    ),
    Break(
        serving.processes_are_those_of_the_platform,
        "Deployment/contacts",
        "spec template spec serviceAccountName",
        "identity",
        "not named like its process",
    ),
    Break(
        serving.ports_are_those_listened_on,
        "ConfigMap/contacts",
        "data LISTEN",
        "0.0.0.0:9001",
        "listens on 9001 by LISTEN",
    ),
    Break(
        serving.ports_are_those_listened_on,
        "ConfigMap/contacts",
        "data LISTEN",
        "127.0.0.1:9000",
        "listens on 127.0.0.1 alone",
    ),
    Break(
        serving.ports_are_those_listened_on,
        "Deployment/feedback",
        f"{CONTAINER} ports 2",
        GONE,
        "names None smtp",
    ),
    Break(
        serving.ports_are_those_listened_on,
        "Deployment/contacts",
        f"{CONTAINER} ports 0 name",
        "http",
        "on which it does not listen",
    ),
    Break(
        serving.probes_ask_what_is_answered,
        "Deployment/contacts",
        f"{CONTAINER} livenessProbe",
        GONE,
        "has no livenessProbe",
    ),
    Break(
        serving.probes_ask_what_is_answered,
        "Deployment/contacts",
        f"{CONTAINER} livenessProbe httpGet path",
        "/readyz",
        "asked /readyz at metrics by livenessProbe",
    ),
    Break(
        serving.probes_ask_what_is_answered,
        "Deployment/contacts",
        f"{CONTAINER} readinessProbe httpGet port",
        "http",
        "asked /readyz at http by readinessProbe",
    ),
    Break(
        serving.probes_ask_what_is_answered,
        "Deployment/gateway",
        f"{CONTAINER} startupProbe",
        {"grpc": {"port": 9000}},
        "asked by gRPC, which it does not serve",
    ),
    Break(
        serving.probes_ask_what_is_answered,
        "Deployment/gateway",
        f"{CONTAINER} readinessProbe httpGet port",
        "metrics",
        "which it says at http",
    ),
    Break(serving.services_lead_to_their_process, "Service/contacts", "", GONE, "has no Service"),
    Break(
        serving.services_lead_to_their_process,
        "Service/contacts",
        "spec selector app.kubernetes.io/name",
        "identity",
        "does not select the pods of contacts",
    ),
    Break(
        serving.services_lead_to_their_process,
        "Service/contacts",
        "spec selector app.kubernetes.io/component",
        GONE,
        "selects the pods of Job/contacts-migrate",
    ),
    Break(
        serving.services_lead_to_their_process,
        "Service/contacts",
        "spec clusterIP",
        GONE,
        "set clusterIP: None",
    ),
    Break(
        serving.services_lead_to_their_process,
        "Service/contacts",
        "spec ports 0",
        GONE,
        "does not offer grpc at 9000",
    ),
    Break(
        serving.services_lead_to_their_process,
        "Service/gateway",
        "spec ports 0 targetPort",
        "web",
        "leads http to web",
    ),
    Break(
        serving.targets_are_found,
        "ConfigMap/contacts",
        "data IDENTITY_TARGET",
        "identity:9001",
        "finds identity at identity:9001",
    ),
    Break(
        serving.targets_are_found,
        "ConfigMap/contacts",
        "data IDENTITY_TARGET",
        "webhooks:9000",
        "finds identity at webhooks:9000",
    ),
    Break(
        serving.targets_are_found,
        "ConfigMap/identity",
        "data DEAD_LETTER_TARGETS",
        "{}",
        "lacks webhooks in DEAD_LETTER_TARGETS",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "ConfigMap/contacts",
        "data SMTP_URL",
        "smtp://relay",
        "sets SMTP_URL, which contacts does not read",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "ConfigMap/platform",
        "data PUBLIC_URL",
        GONE,
        "PUBLIC_URL, which is not there",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "ConfigMap/contacts",
        "",
        GONE,
        "which is not there: add it",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "ConfigMap/contacts",
        "data PUBLIC_URL",
        "https://x",
        "sets PUBLIC_URL twice",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "ConfigMap/webhooks",
        "data TRANSIT_TOKEN",
        "t",
        "shows TRANSIT_TOKEN",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "Deployment/contacts",
        f"{CONTAINER} env 2 valueFrom secretKeyRef name",
        "identity-secrets",
        "what is contacts' own stands in contacts-secrets",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "Deployment/contacts",
        f"{CONTAINER} env 2 valueFrom secretKeyRef optional",
        True,
        "marks STAMP_PRIVATE_KEY as optional",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "Deployment/contacts",
        f"{CONTAINER} env -1 valueFrom secretKeyRef optional",
        False,
        "demands TRANSIT_TOKEN",
    ),
    Break(
        variables.variables_are_those_that_are_read,
        "Deployment/contacts",
        f"{CONTAINER} env -1",
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        "sets POD_IP, which contacts does not read",
    ),
    Break(
        variables.what_must_be_set_is_set,
        "Deployment/contacts",
        f"{CONTAINER} env 2",
        GONE,
        "set it by the key of contacts-secrets",
    ),
    Break(
        variables.what_must_be_set_is_set,
        "ConfigMap/contacts",
        "data IDENTITY_TARGET",
        GONE,
        "set it in the ConfigMap contacts",
    ),
    Break(
        variables.what_is_told_is_understood,
        "ConfigMap/contacts",
        "data METRICS_LISTEN",
        "9100",
        "sets METRICS_LISTEN wrongly",
    ),
    Break(
        variables.what_is_told_is_understood,
        "ConfigMap/platform",
        "data SHARED_DOMAIN",
        "accounts.flownurture.example",
        "must not be the domain of ACCOUNT_MAIL_FROM",
    ),
    Break(
        variables.files_are_mounted,
        "ConfigMap/contacts",
        "data RPC_TLS_KEY",
        "/var/run/tls/tls.key",
        "says that RPC_TLS_KEY is /var/run/tls/tls.key, where nothing is",
    ),
    Break(
        edges.nothing_is_open_by_itself,
        "NetworkPolicy/default-deny",
        "spec policyTypes",
        ["Egress"],
        "under no policy for Ingress",
    ),
    Break(
        edges.calls_are_the_edges,
        "NetworkPolicy/contacts",
        "spec egress",
        GONE,
        "calls identity, and no policy lets it out to port 9000",
    ),
    Break(
        edges.calls_are_the_edges,
        "NetworkPolicy/contacts",
        "spec ingress 0 from 0 podSelector matchExpressions 1 values",
        ["identity"],
        "is called by gateway, and no policy lets it in",
    ),
    Break(
        edges.calls_are_the_edges,
        "NetworkPolicy/contacts",
        "spec egress 0 to 0 podSelector matchExpressions 1 values",
        ["identity", "webhooks"],
        "does not call webhooks at grpc, and a policy lets it out",
    ),
    Break(
        edges.calls_are_the_edges,
        "NetworkPolicy/contacts",
        "spec ingress 0 from",
        GONE,
        "is not called by delivery at grpc",
    ),
    Break(
        edges.calls_are_the_edges,
        "NetworkPolicy/contacts",
        "spec ingress 0 ports",
        GONE,
        "is not called by gateway at metrics",
    ),
    Break(
        edges.ways_out_are_those_that_are_needed,
        "Deployment/contacts",
        "spec template metadata labels reaches-nats",
        GONE,
        "reaches nats, and is not labelled so",
    ),
    Break(
        edges.ways_out_are_those_that_are_needed,
        "Deployment/contacts",
        "spec template metadata labels reaches-smtp",
        "true",
        "is labelled reaches-smtp, and does not need it",
    ),
    Break(
        edges.ways_out_are_those_that_are_needed,
        "ConfigMap/sending",
        "data KEY_ENCRYPTION",
        "aws-kms",
        "reaches https, and is not labelled so",
    ),
    Break(
        edges.ways_out_are_those_that_are_needed, "NetworkPolicy/to-redis", "", GONE, "no policy is for it"
    ),
    Break(
        edges.who_is_let_out_by_name_is_let_in,
        "NetworkPolicy/to-nats",
        "spec egress 0 to",
        [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "bootstrap"}}}],
        "Job/event-bus-provision (base/bootstrap/event-bus.yaml): is reached by contacts at port 4222",
    ),
    Break(edges.names_can_be_looked_up, "NetworkPolicy/to-dns", "", GONE, "cannot ask the DNS"),
    Break(
        jobs.schemas_have_migrations,
        "Job/contacts-migrate",
        "",
        GONE,
        "the schema contacts has migrations that nothing runs",
    ),
    Break(
        jobs.schemas_have_migrations,
        "Job/contacts-migrate",
        f"{CONTAINER} command 3",
        "serve",
        "does not migrate contacts",
    ),
    Break(
        jobs.schemas_have_migrations,
        "Job/contacts-migrate",
        f"{CONTAINER} image",
        "flownurture/sending:1",
        "that of contacts is flownurture/contacts",
    ),
    Break(
        jobs.schemas_have_migrations,
        "Job/contacts-migrate",
        f"{CONTAINER} env 0 valueFrom secretKeyRef name",
        "sending-owner",
        "is not told just who owns contacts",
    ),
    Break(
        jobs.schemas_have_migrations,
        "Job/contacts-migrate",
        "spec template metadata labels app.kubernetes.io/component",
        GONE,
        "by which a roll-out finds them",
    ),
    Break(
        jobs.schemas_have_migrations,
        "Job/contacts-migrate",
        "metadata name",
        "billing-migrate",
        "a schema that does not exist",
    ),
    Break(
        jobs.schemas_have_migrations,
        "Deployment/contacts",
        f"{CONTAINER} env 0 name",
        "DATABASE_OWNER_URL",
        "is told who owns a schema",
    ),
    Break(
        jobs.the_bootstrap_knows_every_role,
        "Job/database-bootstrap",
        f"{CONTAINER} env 1",
        GONE,
        "does not set PASSWORD_IDENTITY_OWNER",
    ),
    Break(
        jobs.the_bootstrap_knows_every_role,
        "Job/database-bootstrap",
        f"{CONTAINER} env 1 name",
        "PASSWORD_X",
        "sets PASSWORD_X, which the bootstrap does not read",
    ),
    Break(
        endurance.containers_say_what_they_take,
        "Deployment/contacts",
        f"{CONTAINER} resources requests cpu",
        GONE,
        "what cpu it takes",
    ),
    Break(
        endurance.containers_say_what_they_take,
        "Job/contacts-migrate",
        f"{CONTAINER} resources limits",
        GONE,
        "all memory of its node",
    ),
    Break(
        endurance.one_at_a_time_is_taken_away,
        "PodDisruptionBudget/contacts",
        "",
        GONE,
        "is in 0 disruption budgets",
    ),
    Break(
        endurance.one_at_a_time_is_taken_away,
        "PodDisruptionBudget/contacts",
        "spec maxUnavailable",
        0,
        "set maxUnavailable: 1",
    ),
    Break(
        endurance.pods_stand_apart,
        "Deployment/contacts",
        "spec template spec topologySpreadConstraints 1",
        GONE,
        "all its pods at one kubernetes.io/hostname",
    ),
    Break(
        endurance.pods_stand_apart,
        "Deployment/contacts",
        "spec template spec topologySpreadConstraints 0 matchLabelKeys",
        GONE,
        "all its pods at one topology.kubernetes.io/zone",
    ),
    Break(
        endurance.releases_replace_each_other,
        "Deployment/contacts",
        "spec strategy",
        GONE,
        "set maxUnavailable: 0 and maxSurge: 1",
    ),
    Break(
        endurance.releases_replace_each_other,
        "StatefulSet/delivery",
        "spec podManagementPolicy",
        GONE,
        "podManagementPolicy: Parallel",
    ),
    Break(
        endurance.pods_get_to_end,
        "Deployment/contacts",
        f"{CONTAINER} lifecycle",
        GONE,
        "when it is called still",
    ),
    Break(
        endurance.pods_get_to_end,
        "Deployment/contacts",
        "spec template spec terminationGracePeriodSeconds",
        30,
        "is killed while it drains: set terminationGracePeriodSeconds to 645",
    ),
    Break(
        endurance.what_must_outlive_a_pod_does,
        "StatefulSet/delivery",
        f"{CONTAINER} volumeMounts 0 mountPath",
        "/tmp",
        "has its journal where it is lost with the pod",
    ),
    *(
        Break(hardening.pods_are_restricted, "Job/contacts-migrate", path, value, said)
        for path, value, said in (
            ("spec template spec securityContext runAsNonRoot", GONE, "PSS, CIS 5.2.7"),
            ("spec template spec securityContext runAsUser", 0, "set runAsUser, not 0"),
            ("spec template spec securityContext seccompProfile type", "Unconfined", "CIS 5.7.2"),
            (f"{CONTAINER} securityContext allowPrivilegeEscalation", GONE, "CIS 5.2.6"),
            (f"{CONTAINER} securityContext privileged", True, "CIS 5.2.2"),
            (f"{CONTAINER} securityContext capabilities drop", ["NET_RAW"], "CIS 5.2.10"),
            (f"{CONTAINER} securityContext capabilities add", ["SYS_ADMIN"], "CIS 5.2.10"),
            (
                f"{CONTAINER} securityContext readOnlyRootFilesystem",
                False,
                "mount an emptyDir where it has to write",
            ),
            (f"{CONTAINER} ports", [{"containerPort": 1, "hostPort": 1}], "CIS 5.2.13"),
            (f"{CONTAINER} image", "flownurture/contacts", "CIS 5.5.1"),
            (f"{CONTAINER} image", "localhost:5000/flownurture/contacts:latest", "CIS 5.5.1"),
            (f"{CONTAINER} env 0", {"name": "DATABASE_OWNER_URL", "value": "x"}, "CIS 5.4.1"),
            ("spec template spec hostNetwork", True, "take hostNetwork away"),
            (
                "spec template spec volumes",
                [{"name": "node", "hostPath": {"path": "/"}}],
                "mounts node from its node",
            ),
            ("spec template spec serviceAccountName", GONE, "CIS 5.1.5"),
            ("spec template spec automountServiceAccountToken", GONE, "can speak to the API server"),
            ("spec template spec enableServiceLinks", GONE, "set enableServiceLinks: false"),
        )
    ),
    Break(
        hardening.accounts_have_no_token,
        "ServiceAccount/contacts",
        "automountServiceAccountToken",
        GONE,
        "CIS 5.1.6",
    ),
    Break(
        hardening.the_namespace_is_restricted,
        "Namespace/flownurture",
        "metadata labels pod-security.kubernetes.io/enforce",
        "baseline",
        "takes in any pod",
    ),
    Break(
        hardening.objects_have_a_namespace,
        "Deployment/contacts",
        "metadata namespace",
        GONE,
        "lands in any namespace",
    ),
    Break(
        scaling.scalers_look_at_what_is_read,
        "ScaledObject/suppression",
        "spec triggers 2 metadata stream",
        "SENDS_APPROVED",
        "does not look at SENDS_REQUESTED, which suppression reads",
        PRODUCTION,
    ),
    Break(
        scaling.scalers_look_at_what_is_read,
        "ScaledObject/delivery",
        "spec triggers 0 metadata consumer",
        "sending",
        "as sending, as delivery does not read it",
        PRODUCTION,
    ),
    Break(
        provenance.secrets_come_from_somewhere,
        "ExternalSecret/identity-owner",
        "",
        GONE,
        "needs the Secret identity-owner, which nobody makes",
        PRODUCTION,
    ),
    Break(
        provenance.secrets_come_from_somewhere,
        "Certificate/contacts",
        "spec secretName",
        "elsewhere",
        "needs the Secret contacts-tls",
        PRODUCTION,
    ),
]


ADDED = [
    (
        """
        kind: HorizontalPodAutoscaler
        metadata: {name: delivery}
        spec: {scaleTargetRef: {kind: Deployment, name: delivery}}
        """,
        references.autoscalers_scale_what_is_there,
        "scales Deployment/delivery, which is not there",
    ),
    (
        """
        kind: ScaledObject
        metadata: {name: contacts}
        spec: {scaleTargetRef: {name: contacts}}
        """,
        references.autoscalers_scale_what_is_there,
        "says how many pods it has, and ScaledObject/contacts does",
    ),
    (
        """
        kind: Ingress
        metadata: {name: api}
        spec:
          defaultBackend: {service: {name: gateway, port: {name: http}}}
          rules: [{http: {paths: [{backend: {service: {name: gateway, port: {number: 80}}}}]}}]
        """,
        references.routes_lead_to_services,
        "leads to port 80 of the Service gateway",
    ),
    (
        """
        kind: HTTPRoute
        metadata: {name: api}
        spec: {rules: [{backendRefs: [{name: gateway, port: 8080}, {name: web, port: 8080}]}]}
        """,
        references.routes_lead_to_services,
        "leads to port 8080 of the Service web",
    ),
]


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


def changed(base: Tree, broken: Break) -> Tree:
    """The tree after the change, nothing of the one before being touched."""
    contents = [dict(deepcopy(each.content)) for each in base.objects]
    kind, name = broken.object.split("/")
    content = next(
        each for each in contents if each["kind"] == kind and is_called(each["metadata"]["name"], name)
    )
    *way, last = broken.path.split() or [""]
    at: Any = content
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if not broken.path:
        contents.remove(content)
    elif broken.value is GONE:
        del at[int(last) if isinstance(at, list) else last]
    else:
        at[int(last) if isinstance(at, list) else last] = broken.value
    return Tree(base.name, [Object(each) for each in contents])
