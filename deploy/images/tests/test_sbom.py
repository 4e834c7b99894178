import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cyclonedx.schema import _res as published

from deploy.images.building import ROOT, Commit
from deploy.images.catalog import IMAGES
from deploy.images.sbom import bill

COMMIT = Commit("0" * 40, 1_700_000_000, "")


@cache
def bill_of(image: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(bill(image, "1.2.3", COMMIT, None))
    return made


@cache
def schema() -> jsonschema_rs.Draft7Validator:
    """CycloneDX 1.6 as its library publishes it, which calls what it refers to by their places on the web."""
    folder = Path(published.__file__).parent
    others = {
        f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json": json.loads(
            (folder / f"{name}.SNAPSHOT.schema.json").read_text()
        )
        for name in ("spdx", "jsf-0.82")
    }
    registry = jsonschema_rs.Registry(list(others.items()))
    text = (folder / "bom-1.6.SNAPSHOT.schema.json").read_text()
    return jsonschema_rs.Draft7Validator(json.loads(text), registry=registry)


@pytest.mark.parametrize("image", IMAGES)
def test_each_package_of_a_lock_is_in_its_bill_with_version_hashes_and_address(image: str) -> None:
    lock = (ROOT / "locks" / f"{image}.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", lock, re.MULTILINE))
    components = {component["name"]: component for component in bill_of(image)["components"]}
    assert {name: component["version"] for name, component in components.items()} == locked
    for name, version in locked.items():
        assert components[name]["purl"] == f"pkg:pypi/{name}@{version}"
        assert {each["alg"] for each in components[name]["hashes"]} == {"SHA-256"}
    hashes = sorted(each["content"] for component in components.values() for each in component["hashes"])
    assert hashes == sorted(re.findall(r"sha256:([0-9a-f]+)", lock))


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_is_valid_cyclonedx(image: str) -> None:
    schema().validate(bill_of(image))


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_says_for_what_each_package_is_there(image: str) -> None:
    wanted = {each for node in bill_of(image)["dependencies"] for each in node.get("dependsOn", ())}
    assert wanted == {component["bom-ref"] for component in bill_of(image)["components"]}


def test_a_bill_of_the_same_commit_is_the_same() -> None:
    assert bill("gateway", "1.2.3", COMMIT, None) == bill("gateway", "1.2.3", COMMIT, None)


def test_the_client_of_a_key_service_is_in_the_bill_of_an_image_that_has_it_beside_what_both_take_once() -> (
    None
):
    made = json.loads(bill("identity", "1.2.3", COMMIT, "aws-kms"))
    names = [component["name"] for component in made["components"]]
    assert {"argon2-cffi", "boto3"} <= set(names)
    assert len(names) == len(set(names))
    assert (
        json.loads(bill("gateway", "1.2.3", COMMIT, "aws-kms"))["components"]
        == bill_of("gateway")["components"]
    )
