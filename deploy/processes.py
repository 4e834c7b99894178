"""The processes of the platform: the package that each is started from, the service that it belongs to, and what it reads."""

from importlib import import_module

from chassis.settings import ProcessSettings
from deploy.nats.topology import topology

PROCESSES = ("gateway", *topology().processes)
# Those that are a service's, but not the one that is named like it: they share its code, its image and its schema.
_OF_SERVICE = {"suppression": "sending", "delivery": "sending", "feedback": "sending", "workflows": "sending"}


def service_of(process: str) -> str:
    """The service that a process belongs to."""
    return _OF_SERVICE.get(process, process)


def package_of(process: str) -> str:
    """What `python -m` starts a process from."""
    if process == "gateway":
        return "gateway"
    service = service_of(process)
    return f"services.{service}" if process == service else f"services.{service}.{process}"


def settings_of(process: str) -> type[ProcessSettings]:
    """The class that says which variables a process reads."""
    module = import_module(f"{package_of(process)}.settings")
    (settings,) = (
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, ProcessSettings) and each.__module__ == module.__name__
    )
    return settings
