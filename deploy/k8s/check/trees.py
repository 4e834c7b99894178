"""What kustomize makes of a folder: the objects of one way to run the platform."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from deploy.k8s.check.objects import COMPONENT, NAME, Object, Pod
from deploy.processes import PROCESSES

ROOT = Path(__file__).parents[1]
# The one that was installed with us, whatever else this machine has.
_KUBECTL = str(Path(sys.executable).with_name("kubectl"))
# Around the folder that is asked for, so that each object says which file it begins in.
_WITH_ORIGINS = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{folder}]
buildMetadata: [originAnnotations]
"""
# The file within them: one that is read, or the one that has an object generated.
_ORIGIN = re.compile(r"(origin: \|\n +(?:path|configuredIn): )(\S+)")


class NotBuilt(Exception):
    """kustomize refuses a folder, and says why."""


@dataclass(frozen=True)
class Tree:
    """All objects of a folder, in the order of kustomize."""

    name: str
    objects: Sequence[Object]

    def of_kind(self, *kinds: str) -> Iterator[Object]:
        """The objects of these kinds."""
        return (each for each in self.objects if each.kind in kinds)

    def named(self, kind: str, name: str) -> Object | None:
        """The one with this name, if it is there."""
        return next((each for each in self.of_kind(kind) if each.name == name), None)

    @cached_property
    def pods(self) -> Sequence[tuple[Object, Pod]]:
        """Whatever makes pods, and what of."""
        return [(each, each.pod) for each in self.objects if each.pod is not None]

    @cached_property
    def processes(self) -> dict[str, tuple[Object, Pod]]:
        """What runs each process of the platform, by its name."""
        return {name: self.labelled[name] for name in PROCESSES if name in self.labelled}

    @cached_property
    def labelled(self) -> dict[str, tuple[Object, Pod]]:
        """Whatever says that it runs a process of the platform, by the name that it says."""
        return {
            pod.labels.get(NAME, ""): (each, pod)
            for each, pod in self.pods
            if pod.labels.get(COMPONENT) == "process"
        }


def folders(root: Path) -> list[Path]:
    """The base, and every overlay."""
    return [root / "base", *sorted(file.parent for file in root.glob("overlays/*/kustomization.yaml"))]


def tree(folder: Path) -> Tree:
    """Build a folder. Raises NotBuilt."""
    home = ROOT if folder.is_relative_to(ROOT) else folder.parent
    with TemporaryDirectory() as around:
        here = Path(around).resolve()
        relative = os.path.relpath(folder, here)
        here.joinpath("kustomization.yaml").write_text(_WITH_ORIGINS.format(folder=relative))
        built = subprocess.run(  # noqa: S603 - our own kubectl
            [_KUBECTL, "kustomize", here], capture_output=True, text=True, check=False
        )
        if built.returncode:
            raise NotBuilt(built.stderr.strip())
        named = _ORIGIN.sub(lambda origin: origin[1] + os.path.relpath(here / origin[2], home), built.stdout)
    contents = yaml.load_all(named, yaml.CSafeLoader)
    return Tree(str(folder.relative_to(home)), [Object(content) for content in contents if content])
