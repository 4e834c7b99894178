"""Write docs/access.md, who may do what, from the contract: `python -m proto.access_table docs/access.md`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.context import Role
from chassis.contract.access import AccessRule, Audience
from proto.house_rules import route_of
from proto.lint import compile_image, house_files

OPENING = """# Who may do what

Made from `proto/` by `make access`, and compared by `make lint`; do not edit. The gateway enforces it at the edge, and each
service again, from the same options.

- **audience** `PUBLIC`: anybody. `ACCOUNT`: a signed-in user. `TENANT`: a user or an API key, within its organization alone.
  `PLATFORM`: the platform's operators. `INTERNAL`: the processes named as callers; no way in from outside.
- **role**: the least that a user needs. **scope**: what an API key needs; without one, no key may call.
- **feature**: what the organization's plan must include.
- **delegates**: the processes that may call for a client whose call reached them, with its rights alone.
"""
HEADING = "| method | path | RPC | audience | role | scope | feature | callers | delegates |\n|---|---|---|---|---|---|---|---|---|"


def table(services: Iterable[ServiceDescriptor]) -> str:
    """The whole page, a section for each service."""
    sections = [
        f"## {service.full_name.removeprefix('flownurture.')}\n\n{HEADING}\n" + "\n".join(_rows(service))
        for service in services
    ]
    return "\n\n".join([OPENING.rstrip(), *sections]) + "\n"


def _rows(service: ServiceDescriptor) -> Iterator[str]:
    for method in service.methods:
        yield f"| {' | '.join(_cells(method))} |"


def _cells(method: MethodDescriptor) -> Iterator[str]:
    rule, route = AccessRule.of(method), route_of(method)
    yield route.verb if route else ""
    yield f"`{route.path}`" if route else ""
    yield method.name
    yield rule.audience.name
    yield rule.role.name if rule.role > Role.NONE else ""
    yield f"`{rule.scope}`" if rule.scope else ""
    yield f"`{rule.feature}`" if rule.feature else ""
    yield ", ".join(sorted(rule.callers)) if rule.audience is Audience.INTERNAL else ""
    yield ", ".join(sorted(rule.delegates))


def main(target: Path) -> None:
    """Write the page of the contract as it stands."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "contract.binpb"
        compile_image(image)
        files = house_files(FileDescriptorSet.FromString(image.read_bytes()))
    services = [service for file in files for service in file.services_by_name.values()]
    target.write_text(table(sorted(services, key=lambda service: service.full_name)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
