"""The house of the local runtime with every process as a container from its image."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deploy.images.catalog import reference
from deploy.images.containers import Container
from deploy.images.engine import Engine
from deploy.local.environment import process_environment
from deploy.local.plan import plan
from deploy.local.premises import Premises
from deploy.local.supervisor.plan import Plan
from deploy.local.supervisor.program import PythonProgram, Room
from deploy.processes import package_of, service_of


def engine_and_tag() -> tuple[Engine, str]:
    """What ENGINE and TAG say, which `deploy.images.trial` hands on to all that it starts."""
    return Engine(os.environ["ENGINE"]), os.environ["TAG"]


def plan_of_images(premises: Premises, engine: Engine, tag: str) -> Plan:
    """Servers, inbox and name server as they are in any house; what is the platform's, from images."""
    local = plan(premises)
    (preparation,) = local.preparations
    prepared = replace(
        preparation,
        command=(sys.executable, "-m", "deploy.images.prepare"),
        environment=os.environ | dict(preparation.environment),
    )
    return replace(
        local,
        preparations=(prepared,),
        processes=tuple(_from_image(room, premises, engine, tag) for room in local.processes),
    )


def _from_image(room: Room, premises: Premises, engine: Engine, tag: str) -> Room:
    program = room.program
    if not isinstance(program, PythonProgram):
        raise TypeError(f"{room.name} is no process of the platform")
    environment = process_environment(room.name, premises.addresses, premises.secrets)
    container = Container(
        engine,
        # Houses of one machine share its engine.
        f"flownurture-{premises.ports.processes}-{room.name}",
        reference(service_of(room.name), tag),
        (package_of(room.name), "serve"),
        environment,
        program.ready_url,
        _written(environment),
    )
    return replace(room, program=container)


def _written(environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("JOURNAL_FOLDER")
    return Path(folder) if folder else None
