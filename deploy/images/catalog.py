"""Which images there are: one for each service, which all of its processes are started from, and one for operators."""

from deploy.processes import PROCESSES, package_of, service_of

OPERATOR = "operator"
SERVICES = tuple(dict.fromkeys(service_of(process) for process in PROCESSES))
IMAGES = (*SERVICES, OPERATOR)
# Who may keep keys elsewhere, each by a client that has a lock of its own.
KEY_SERVICES = ("aws-kms", "vault-transit")
# Seals nothing, and opens nothing.
_WITHOUT_KEYS = "gateway"


def reference(image: str, tag: str) -> str:
    """What an engine knows an image by."""
    return f"flownurture/{image}:{tag}"


def question(image: str) -> tuple[str, ...]:
    """What an image answers without any server, so that it can be seen to start."""
    return ("operations", "--help") if image == OPERATOR else (package_of(image), "settings")


def locks_of(image: str, key_service: str | None) -> tuple[str, ...]:
    """The locks whose packages an image has, where images are made for this key service."""
    return (image,) if key_service is None or image == _WITHOUT_KEYS else (image, key_service)
