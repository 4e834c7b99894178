"""What is asked of a container engine: docker, or podman, which takes the same words."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

# What a cluster grants a process, and no more: nothing is written but to what is mounted, and nobody becomes anybody else.
RESTRICTED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


class EngineFailed(Exception):
    """The engine is not there, or did not do what it was asked; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, by the name of its command."""

    command: str = "docker"

    def missing(self) -> str | None:
        """Why it cannot be used; None when it can."""
        if shutil.which(self.command) is None:
            return f"there is no command {self.command}"
        try:
            self._say("info")
        except EngineFailed as failure:
            return f"{self.command} has no engine: {failure}"
        return None

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return bool(self._say("images", "--quiet", image).strip())

    def build(self, arguments: Sequence[str]) -> None:
        """Build, and show how it goes."""
        # The builder of the repository's Dockerfile, where docker still has another one, too.
        environment = os.environ | {"DOCKER_BUILDKIT": "1"}
        built = subprocess.run([self.command, "build", *arguments], env=environment, check=False)  # noqa: S603
        if built.returncode != 0:
            raise EngineFailed(f"{self.command} build ended with exit code {built.returncode}")

    def megabytes(self, image: str) -> float:
        """What an image takes, in millions of bytes."""
        return int(self._say("image", "inspect", "--format", "{{.Size}}", image)) / 1e6

    def seconds(self, image: str, arguments: Sequence[str]) -> float:
        """How long it takes from asking the engine for a container, as a cluster runs it, until that has answered and ended."""
        began = monotonic()
        self._say("run", "--rm", "--network=none", *RESTRICTED, image, *arguments)
        return monotonic() - began

    def run(self, image: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run to its end on the network of this machine."""
        self._say(*on_this_machine(environment), "--rm", image, *arguments, environment=environment)

    def remove(self, container: str) -> None:
        """Have no container of that name."""
        self._say("rm", "--force", "--volumes", container, check=False)

    def _say(self, *words: str, environment: Mapping[str, str] | None = None, check: bool = True) -> str:
        try:
            answer = subprocess.run(  # noqa: S603 - the engine that was named
                [self.command, *words],
                env=os.environ | dict(environment or {}),
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise EngineFailed(f"there is no command {self.command}") from None
        if check and answer.returncode != 0:
            raise EngineFailed(answer.stderr.strip() or f"exit code {answer.returncode}")
        return answer.stdout


def on_this_machine(environment: Mapping[str, str]) -> list[str]:
    """How a container is run beside servers that listen to this machine alone.

    Variables are named only: their values, secrets among them, are taken from the environment of the command.
    """
    return ["run", "--network=host", *RESTRICTED, *(f"--env={name}" for name in environment)]
