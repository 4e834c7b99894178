"""What each process is told is what it reads: by the class of its settings, both ways."""

from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath

from pydantic import ValidationError

from deploy.k8s.check.code import fields_of, is_file, is_secret
from deploy.k8s.check.environment import Variable, container_of, variables
from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import is_called
from deploy.k8s.check.trees import Tree
from deploy.local.environment import Addresses, process_environment
from deploy.local.secrets import Secrets
from deploy.processes import PROCESSES, settings_of
from deploy.redis.users import user_names

# What no settings have, since libraries look for it by themselves: the authorities that an operator's servers are believed by.
_READ_BY_LIBRARIES = {"SSL_CERT_FILE"}


def variables_are_those_that_are_read(tree: Tree) -> Told:
    """Every variable is read by its process, and is there, once, and from where it may come."""
    for process, (each, pod) in tree.processes.items():
        fields, seen = fields_of(process), set[str]()
        for told in variables(tree, container_of(process, pod)):
            if told.missing:
                yield (
                    each,
                    f"refers to {told.source or told.name} {told.key}".rstrip()
                    + ", which is not there: add it",
                )
            elif told.name in _READ_BY_LIBRARIES:
                continue
            elif told.name not in fields:
                yield each, f"sets {told.name}, which {process} does not read: take it away"
            elif told.name in seen:
                yield each, f"sets {told.name} twice: take one away"
            else:
                yield from ((each, problem) for problem in _of_its_source(process, told))
            seen.add(told.name)


def _of_its_source(process: str, told: Variable) -> Iterator[str]:
    field = fields_of(process)[told.name]
    if is_secret(told.name, field) and not told.secret:
        yield f"shows {told.name}, which is secret: refer to the key of {process}-secrets"
    if told.secret and not is_called(told.source, f"{process}-secrets"):
        yield f"takes {told.name} from {told.source}: what is {process}' own stands in {process}-secrets"
    if told.optional and field.is_required():
        yield f"marks {told.name} as optional, without which {process} does not start: take optional away"
    if told.secret and not told.optional and not field.is_required():
        yield f"demands {told.name}, without which {process} starts: mark it optional"


def what_must_be_set_is_set(tree: Tree) -> Told:
    """Every variable without which a process does not start."""
    for process, (each, pod) in tree.processes.items():
        told = {variable.name for variable in variables(tree, container_of(process, pod))}
        for name, field in fields_of(process).items():
            if field.is_required() and name not in told:
                where = (
                    f"by the key of {process}-secrets"
                    if is_secret(name, field)
                    else f"in the ConfigMap {process}"
                )
                yield each, f"does not set {name} ({field.description}): set it {where}"


def what_is_told_is_understood(tree: Tree) -> Told:
    """What ConfigMaps say is what the settings take, with secrets as the local runtime makes them."""
    for process, (each, pod) in tree.processes.items():
        told = list(variables(tree, container_of(process, pod)))
        shown = {variable.name: variable.value for variable in told if variable.value is not None}
        hidden = {name: value for name, value in _sample(process).items() if name not in shown}
        try:
            settings_of(process).model_validate(
                {name.lower(): value for name, value in (hidden | shown).items()}
            )
        except ValidationError as wrong:
            for error in wrong.errors(include_input=False, include_url=False, include_context=False):
                name = str(error["loc"][0]).upper() if error["loc"] else "its settings"
                # What is not set at all is told by the rule for that.
                if error["type"] != "missing":
                    yield each, f"sets {name} wrongly: {error['msg'].removeprefix('Value error, ')}"


def files_are_mounted(tree: Tree) -> Told:
    """Each file and folder that a process is told of is on a volume: its own files cannot be written, and hold no secrets."""
    for process, (each, pod) in tree.processes.items():
        container = container_of(process, pod)
        mounted = [PurePosixPath(mount["mountPath"]) for mount in container.get("volumeMounts", ())]
        for told in variables(tree, container):
            if (
                told.value is None
                or told.name not in fields_of(process)
                or not is_file(fields_of(process)[told.name])
            ):
                continue
            if not any(PurePosixPath(told.value).is_relative_to(mount) for mount in mounted):
                yield each, f"says that {told.name} is {told.value}, where nothing is: mount a volume there"


@cache
def _secrets() -> Secrets:
    return Secrets.generate()


@cache
def _sample(process: str) -> dict[str, str]:
    """What is secret of a process, as it may look like."""
    anywhere = dict.fromkeys(PROCESSES, "localhost:1")
    addresses = Addresses(
        database="localhost:1",
        nats_url="nats://localhost:1",
        redis_urls=dict.fromkeys(user_names(), "redis://localhost:1"),
        smtp_url="smtp://localhost:1",
        public_url="",
        feedback_smtp="",
        nameserver="",
        journals="",
        listen=anywhere,
        side=anywhere,
    )
    told = process_environment(process, addresses, _secrets())
    return {name: value for name, value in told.items() if is_secret(name, fields_of(process)[name])}


RULES = (
    variables_are_those_that_are_read,
    what_must_be_set_is_set,
    what_is_told_is_understood,
    files_are_mounted,
)
