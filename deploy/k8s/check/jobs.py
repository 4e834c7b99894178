"""Each schema that has migrations has a Job for them, and what an administrator does is told what it reads."""

from collections.abc import Iterator

from deploy.k8s.check.code import migrated_schemas, role_passwords
from deploy.k8s.check.environment import variables
from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import COMPONENT, Pod, is_called
from deploy.k8s.check.trees import Tree

_MIGRATE = "-migrate"


def schemas_have_migrations(tree: Tree) -> Told:
    """One for each, as its owner; nobody else is told who that is."""
    jobs = {job.name: job for job in tree.of_kind("Job") if job.labels.get(COMPONENT) == "migration"}
    schemas = list(migrated_schemas())
    for schema in schemas:
        job = jobs.get(schema + _MIGRATE)
        if job is None or job.pod is None:
            yield (
                f"Job/{schema}{_MIGRATE}",
                f"the schema {schema} has migrations that nothing runs: add a Job, labelled {COMPONENT}: migration",
            )
        else:
            yield from ((job, problem) for problem in _of_a_migration(tree, schema, job.pod))
    for name in jobs.keys() - {schema + _MIGRATE for schema in schemas}:
        yield jobs[name], "migrates a schema that does not exist: take it away"
    for each, pod in tree.pods:
        for container in pod.containers:
            if each.name not in jobs and any(
                told.name == "DATABASE_OWNER_URL" for told in variables(tree, container)
            ):
                yield (
                    each,
                    "is told who owns a schema: that is for migrations alone, so take DATABASE_OWNER_URL away",
                )


def _of_a_migration(tree: Tree, schema: str, pod: Pod) -> Iterator[str]:
    (container, *_) = pod.spec["containers"]
    if container.get("command") != (command := ["python", "-m", f"services.{schema}", "migrate"]):
        yield f"does not migrate {schema}: set command to {command}"
    if f"flownurture/{schema}" not in str(container.get("image")):
        yield f"runs the image {container.get('image')}: that of {schema} is flownurture/{schema}"
    told = [
        (each.name, each.key)
        for each in variables(tree, container)
        if is_called(each.source, f"{schema}-owner")
    ]
    if told != [("DATABASE_OWNER_URL", "DATABASE_OWNER_URL")] or len(container["env"]) != 1:
        yield f"is not told just who owns {schema}: refer to DATABASE_OWNER_URL of {schema}-owner"
    if pod.labels.get(COMPONENT) != "migration":
        yield f"makes pods that are not labelled {COMPONENT}: migration, by which a roll-out finds them: label them"


def the_bootstrap_knows_every_role(tree: Tree) -> Told:
    """Where roles of the database are made here, all of them are, each with its password."""
    for job in tree.of_kind("Job"):
        containers = list(job.pod.containers) if job.pod else []
        for container in containers:
            if container.get("command") != ["python", "-m", "deploy.database", "bootstrap"]:
                continue
            told = {each.name for each in variables(tree, container)}
            wanted = role_passwords() | {"DATABASE_ADMIN_URL"}
            for name in sorted(wanted - told):
                yield job, f"does not set {name}: refer to its key (deploy/database/roles.toml)"
            for name in sorted(told - wanted):
                yield job, f"sets {name}, which the bootstrap does not read: take it away"


RULES = (schemas_have_migrations, the_bootstrap_knows_every_role)
