import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from deploy.images.catalog import IMAGES, KEY_SERVICES, OPERATOR, SERVICES, locks_of
from deploy.images.tests import recipe
from deploy.images.tests.imports import imports, provided
from deploy.processes import PROCESSES, package_of, service_of, settings_of

STAGES = recipe.stages()
OURS = {"chassis", "deploy", "gateway", "operations", "services"}
# The clients of key services are beside what a service needs: an image has one that is made for it.
CLIENTS = {"chassis.vault.aws_kms": "aws-kms", "chassis.vault.vault_transit": "vault-transit"}


def modules(files: AbstractSet[Path]) -> dict[str, Path]:
    """The modules among files, by the name they are imported by."""
    python = [file for file in files if file.suffix == ".py"]
    return {
        ".".join(file.with_suffix("").parts).removeprefix("proto.gen.").removesuffix(".__init__"): file
        for file in python
    }


def first_party(name: str, known: dict[str, Path]) -> str:
    """The module that an import of ours names, or names something in."""
    return name if name in known else name.rpartition(".")[0]


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS | {"flownurture"}


def closure(image: str, known: dict[str, Path]) -> set[str]:
    """The modules that an image's own import, those of the chassis as far as they are imported to be imported."""
    own = {name for name in known if not name.startswith(("chassis", "flownurture"))}
    reached: set[str] = set()
    coming = set(own)
    while coming:
        module = coming.pop()
        reached.add(module)
        later_counts = module in own
        named = {name for name, at_once in imports(known[module]) if at_once or later_counts}
        named_of_ours = {first_party(name, known) for name in named} & known.keys()
        coming |= named_of_ours - reached - CLIENTS.keys()
    return reached


def test_each_service_of_the_platform_has_an_image_and_each_image_a_service() -> None:
    assert recipe.targets(STAGES) == {*(service_of(process) for process in PROCESSES), OPERATOR}
    assert set(IMAGES) == recipe.targets(STAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_all_that_an_image_imports_of_ours_is_in_it(image: str) -> None:
    known = modules(recipe.sources(STAGES, image))
    missing = {
        (str(file), name)
        for file in known.values()
        for name, _ in imports(file)
        if is_ours(name) and first_party(name, known) not in known and not is_namespace(name, known)
    }
    assert not missing


def is_namespace(name: str, known: dict[str, Path]) -> bool:
    """Whether it names a folder of modules that has no file of its own, or one of its modules."""
    return any(module.startswith(f"{name}.") for module in known)


@pytest.mark.parametrize("image", IMAGES)
def test_all_else_that_an_image_imports_is_pinned_by_its_lock(image: str) -> None:
    known = modules(recipe.sources(STAGES, image))
    pinned = provided(image)
    missing = {
        (module, name)
        for module in closure(image, known)
        for name, at_once in imports(known[module])
        if (at_once or not module.startswith("chassis"))
        and not is_ours(name)
        and name.partition(".")[0] not in sys.stdlib_module_names
        and not {name, name.rpartition(".")[0]} & pinned
    }
    assert not missing


@pytest.mark.parametrize("image", SERVICES)
def test_an_image_has_what_its_processes_are_started_from_and_nothing_of_other_services(image: str) -> None:
    known = modules(recipe.sources(STAGES, image))
    started = {f"{package_of(process)}.__main__" for process in PROCESSES if service_of(process) == image}
    assert started <= known.keys()
    home = "gateway" if image == "gateway" else f"services.{image}"
    strangers = [
        module
        for module in known
        if module.startswith(("services.", "gateway", "deploy", "operations"))
        and not f"{module}.".startswith(f"{home}.")
    ]
    assert strangers == []


@pytest.mark.parametrize("image", IMAGES)
def test_no_image_has_tests_or_state(image: str) -> None:
    files = recipe.sources(STAGES, image)
    assert not [file for file in files if {"tests", "__pycache__", "var"} & set(file.parts)]
    assert not [file for file in files if file.suffix == ".md" or file.name == "conftest.py"]


@pytest.mark.parametrize(
    "path", ["var/secrets.json", ".env", "deploy/local/secrets.py", ".git/config", "conftest.py"]
)
def test_what_no_image_needs_is_not_sent_to_an_engine(path: str) -> None:
    assert not recipe.is_sent(Path(path))


def test_every_image_runs_as_nobody_of_the_machine_and_without_a_shell() -> None:
    (runtime,) = [stage for name, stage in STAGES.items() if name == "runtime"]
    assert runtime.all("USER") == [["10001:10001"]]
    for image in IMAGES:
        instructions = {name for name, _ in STAGES[image].instructions}
        assert instructions == {"COPY", "CMD"}, image
        ((_, command),) = [each for each in STAGES[image].instructions if each[0] == "CMD"]
        assert command.startswith("["), image


@pytest.mark.parametrize("image", IMAGES)
def test_packages_are_installed_from_hashes_of_wheels_alone(image: str) -> None:
    told = " ".join(words for name, words in STAGES["builder"].instructions if name == "ENV")
    assert {"PIP_REQUIRE_HASHES=1", "PIP_NO_DEPS=1", "PIP_ONLY_BINARY=:all:"} <= set(told.split())
    (run,) = STAGES[f"{image}-packages"].all("RUN")
    asked_for = ["${KEY_SERVICE:+-r", "locks/$KEY_SERVICE.txt}"] if takes_keys(image) else []
    assert ["pip", "install", "-r", f"locks/{image}.txt", *asked_for] == run[
        run.index("pip") : run.index("&&")
    ]
    assert recipe.locks(STAGES, image) == [image, *(KEY_SERVICES if asked_for else ())]


def takes_keys(image: str) -> bool:
    """Whether it may be made for a key service."""
    return locks_of(image, KEY_SERVICES[0]) != (image,)


@pytest.mark.parametrize("image", SERVICES)
def test_an_image_may_have_the_client_of_a_key_service_where_its_processes_may_be_told_of_one(
    image: str,
) -> None:
    told = [
        "key_encryption" in settings_of(process).model_fields
        for process in PROCESSES
        if service_of(process) == image
    ]
    assert takes_keys(image) == any(told)


@pytest.mark.parametrize(("client", "key_service"), CLIENTS.items())
def test_what_a_client_of_a_key_service_imports_is_pinned_by_its_lock(client: str, key_service: str) -> None:
    found = {name for name, _ in imports(Path(*client.split(".")).with_suffix(".py")) if not is_ours(name)}
    named = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
    assert named
    assert all({name, name.rpartition(".")[0]} & provided(key_service) for name in named)
