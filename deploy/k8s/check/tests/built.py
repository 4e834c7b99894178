"""Folders as kustomize builds them, each once for all tests of a run."""

from functools import cache

from deploy.k8s.check.trees import ROOT, Tree, tree


@cache
def built(folder: str) -> Tree:
    """A folder of deploy/k8s: `base`, `overlays/production`."""
    return tree(ROOT / folder)
