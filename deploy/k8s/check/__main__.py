"""`python -m deploy.k8s.check`: whether what is deployed is what the code needs."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.k8s.check.findings import Finding
from deploy.k8s.check.rules import checked
from deploy.k8s.check.trees import ROOT, NotBuilt, folders, tree

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Folders = Annotated[
    list[Path] | None, typer.Argument(help="The folders to check; without any, the base and every overlay.")
]


@app.command()
def check(given: Folders = None) -> None:
    """Build the base and every overlay, and compare them with the schemas of Kubernetes, with what pods may have, and with the code.

    A line for each finding, which says what to do. Exit code 1 when there are any.
    """
    wanted = [folder.resolve() for folder in given] if given else folders(ROOT)
    found: list[Finding] = []
    objects = 0
    for folder in wanted:
        try:
            built = tree(folder)
        except NotBuilt as refusal:
            found.append(Finding(str(folder), "kustomize", f"refuses it: {refusal}"))
            continue
        found += checked(built)
        objects += len(built.objects)
    for finding in found:
        typer.echo(str(finding), err=True)
    typer.echo(f"folders: {len(wanted)}, objects: {objects}, findings: {len(found)}")
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    app()
