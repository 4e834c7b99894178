"""Which images there are: one for each service, which all of its processes are started from, and one for operators."""

from deploy.processes import PROCESSES, package_of, service_of

OPERATOR = "operator"
SERVICES = tuple(dict.fromkeys(service_of(process) for process in PROCESSES))
IMAGES = (*SERVICES, OPERATOR)


def reference(image: str, tag: str) -> str:
    """What an engine knows an image by."""
    return f"flownurture/{image}:{tag}"


def question(image: str) -> tuple[str, ...]:
    """What an image answers without any server, so that it can be seen to start."""
    return ("operations", "--help") if image == OPERATOR else (package_of(image), "settings")
