"""Objects are what the API server takes: by the schemas of Kubernetes, and by those in `schemas/` of what others bring."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema_rs import Validator, validator_for

from deploy.k8s.check.findings import Told
from deploy.k8s.check.objects import Object
from deploy.k8s.check.trees import ROOT, Tree

# The oldest that has all that is used here, and the newest that is known.
OLDEST = "1.30.0"
_VERSIONS = (OLDEST, kubernetes_validate.latest_version())
# As the package has them; "strict" knows no fields but those that it names.
_OF_KUBERNETES = files(kubernetes_validate) / "kubernetes-json-schema"


def objects_are_valid(tree: Tree) -> Told:
    """Strictly: nothing is in them that their schema does not know."""
    for each in tree.objects:
        file = _added_schema(each)
        if file.exists():
            yield from ((each, problem) for problem in _wrong(each, _of_file(file)))
        elif not _is_known(each):
            yield (
                each,
                f"{each.content['apiVersion']} is not Kubernetes' own: add its schema as {_shown(file)}",
            )
        else:
            for version in _VERSIONS:
                for problem in _wrong(each, _of_kubernetes(version, _file_of(each))):
                    yield each, f"Kubernetes {version} does not take it: {problem}"


def _wrong(each: Object, validator: Validator) -> Iterator[str]:
    for error in validator.iter_errors(each.content):
        yield f"{'.'.join(map(str, error.instance_path)) or 'all of it'}: {error.message}"


def _added_schema(each: Object) -> Path:
    group, _, version = str(each.content["apiVersion"]).rpartition("/")
    return ROOT / "schemas" / group / f"{each.kind.lower()}_{version}.json"


def _shown(file: Path) -> str:
    return str(file.relative_to(ROOT.parents[1]))


def _file_of(each: Object) -> str:
    group, _, version = str(each.content["apiVersion"]).rpartition("/")
    # The package leaves the domain of a group away; those of Kubernetes are unlike without it.
    return "-".join(filter(None, (each.kind.lower(), group.partition(".")[0], version))) + ".json"


def _is_known(each: Object) -> bool:
    group = str(each.content["apiVersion"]).rpartition("/")[0]
    ours = "." not in group or group.endswith(".k8s.io")
    return ours and (_OF_KUBERNETES / f"v{_VERSIONS[-1]}-local-strict" / _file_of(each)).is_file()


@cache
def _of_file(file: Path) -> Validator:
    return validator_for(json.loads(file.read_text()))


@cache
def _of_kubernetes(version: str, name: str) -> Validator:
    folder = _OF_KUBERNETES / f"v{version}-local-strict"
    # What a schema refers to is always the one file of definitions.
    return validator_for(json.loads((folder / name).read_text()), retriever=lambda _: _definitions(version))


@cache
def _definitions(version: str) -> Any:
    return json.loads((_OF_KUBERNETES / f"v{version}-local-strict" / "_definitions.json").read_text())


RULES = (objects_are_valid,)
