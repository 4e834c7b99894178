"""All rules, in the order in which one wants to hear of what they find."""

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
from deploy.k8s.check.findings import Finding, findings
from deploy.k8s.check.trees import Tree

RULES = (
    *schemas.RULES,
    *references.RULES,
    *serving.RULES,
    *variables.RULES,
    *edges.RULES,
    *jobs.RULES,
    *endurance.RULES,
    *scaling.RULES,
    *provenance.RULES,
    *hardening.RULES,
)


def checked(tree: Tree) -> list[Finding]:
    """What all of them find in a tree."""
    return list(findings(tree, *RULES))
