"""`python -m deploy.images build|measure|sbom|demo`: the images of the platform."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from deploy.images.building import Recipe
from deploy.images.building import build as build_images
from deploy.images.catalog import IMAGES, KEY_SERVICES, question, reference
from deploy.images.engine import Engine, EngineFailed
from deploy.local.opening import HouseNotOpen, close
from deploy.local.screen import OpeningScreen
from deploy.local.state import SOURCES, StateFolder

_ROUNDS = 3

app = typer.Typer(
    help="The images of FlowNurture: one for each service, and one for operators. See deploy/images/README.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()


def _known_key_service(name: str | None) -> str | None:
    if name is not None and name not in KEY_SERVICES:
        raise typer.BadParameter(f"there is no client of {name}; there are {', '.join(KEY_SERVICES)}")
    return name


Images = Annotated[list[str] | None, typer.Argument(help="Some of them; without any, all.")]
EngineName = Annotated[str, typer.Option("--engine", envvar="ENGINE", help="docker or podman.")]
Tag = Annotated[str, typer.Option(envvar="TAG", help="What images are tagged with.")]
Base = Annotated[str | None, typer.Option(envvar="BASE", help="What images are made on.")]
Builder = Annotated[
    str | None, typer.Option(envvar="BUILDER", help="What layers are made on: has pip; BASE without it.")
]
Pip = Annotated[
    Path | None,
    typer.Option("--pip", envvar="PIP_CONF", help="A pip.conf: where packages come from.", exists=True),
]
KeyService = Annotated[
    str | None,
    typer.Option(
        envvar="KEY_SERVICE",
        help=f"Whose client they have: {' or '.join(KEY_SERVICES)}.",
        callback=_known_key_service,
    ),
]
Folder = Annotated[Path, typer.Option(help="Where the files are written.", file_okay=False)]
Options = Annotated[
    str, typer.Option(envvar="BUILD_OPTIONS", help="What else the engine's build is told, as in a shell.")
]


@app.command()
def build(
    images: Images = None,
    *,
    engine: EngineName = "docker",
    tag: Tag = "dev",
    base: Base = None,
    builder: Builder = None,
    pip: Pip = None,
    key_service: KeyService = None,
    options: Options = "",
) -> None:
    """Build the images, and show what each takes."""
    chosen = _known(images)
    build_images(_usable(engine), Recipe(tag, base, builder, pip, key_service, shlex.split(options)), chosen)
    _measure(Engine(engine), chosen, tag)


@app.command("sbom")
def sbom_command(
    images: Images = None,
    *,
    tag: Tag = "dev",
    key_service: KeyService = None,
    folder: Folder = Path("var/sbom"),
) -> None:
    """Write what each image is made of, a CycloneDX file for each, from the locks: this needs no engine."""
    from deploy.images.sbom import write  # noqa: PLC0415 - the other commands start quicker without it

    for path in write(folder, _known(images), tag, key_service):
        console.print(str(path), highlight=False, soft_wrap=True)


@app.command()
def measure(images: Images = None, engine: EngineName = "docker", tag: Tag = "dev") -> None:
    """Show what each image takes, and how long it takes to answer: the least of three times."""
    _measure(_usable(engine), _known(images), tag)


@app.command()
def demo(*, engine: EngineName = "docker", tag: Tag = "dev") -> None:
    """Play the demo on the images: servers of this machine, every process a container; all of it ends after.

    Its state is in FLOWNURTURE_VAR, or `var/images`.
    """
    from deploy.images.trial import open_house, play_demo  # noqa: PLC0415 - as above

    state = StateFolder.of({"FLOWNURTURE_VAR": str(SOURCES / "var" / "images"), **os.environ})
    try:
        with OpeningScreen(console) as opening:
            open_house(state, _usable(engine), tag, opening.show)
        status = play_demo()
    finally:
        close(state)
    raise typer.Exit(status)


def _measure(engine: Engine, images: Sequence[str], tag: str) -> None:
    table = Table(Column("image", no_wrap=True), "MB", "answers in s", "to")
    for image in images:
        name, asked = reference(image, tag), question(image)
        seconds = min(engine.seconds(name, asked) for _ in range(_ROUNDS))
        table.add_row(name, f"{engine.megabytes(name):.0f}", f"{seconds:.2f}", " ".join(asked))
    console.print(table)


def _known(images: Sequence[str] | None) -> Sequence[str]:
    for image in images or ():
        if image not in IMAGES:
            raise typer.BadParameter(f"there is no image {image}; there are {', '.join(IMAGES)}")
    return images or IMAGES


def _usable(name: str) -> Engine:
    engine = Engine(name)
    if reason := engine.missing():
        raise EngineFailed(reason)
    return engine


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (EngineFailed, HouseNotOpen) as failure:
        raise SystemExit(str(failure)) from None


if __name__ == "__main__":
    main()
