"""What can be wrong with what is deployed: each a change of an object, the rule that is to speak, and what it is to say."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

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
from deploy.k8s.check.findings import Rule
from deploy.k8s.check.objects import Object, is_called
from deploy.k8s.check.trees import Tree

GONE = object()
PRODUCTION = "overlays/production"
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

# What an overlay adds, which is not in order by itself.
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
