"""A house's secrets are as old as its data; what it did not have yet comes to them."""

import json
from dataclasses import asdict
from pathlib import Path

from deploy.local.secrets import Secrets


def test_a_house_from_before_a_role_gets_its_password_and_keeps_the_others(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    made = asdict(Secrets.load_or_create(file))
    before = json.loads(file.read_text())
    del before["database_roles"]["sending_consent"], before["link_key"]
    file.write_text(json.dumps(before))
    now = asdict(Secrets.load_or_create(file))
    assert now["database_roles"].keys() == made["database_roles"].keys()
    assert now.keys() == made.keys()
    del now["database_roles"]["sending_consent"], now["link_key"]
    assert now == before
    assert Secrets.load_or_create(file) == Secrets.load_or_create(file)
