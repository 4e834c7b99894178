"""What is measured: the contacts process on real servers, and an organization that has a million contacts."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.sql import SQL, Literal
from sqlalchemy import make_url

from chassis.context import ActorKind, RequestContext, Role
from deploy.database.bootstrap import DATABASE
from deploy.local.environment import Addresses, process_environment
from deploy.local.secrets import Secrets
from deploy.local.servers.keeper import FAILED, READY
from deploy.local.servers.program import HOST, free_port

_SEED = SQL("""
    INSERT INTO contacts (organization_id, id, email, email_digest, first_name, last_name, status, custom_fields, created_at)
    SELECT {organization}, uuidv7(), 'reader' || n || '@example.com', sha256(('reader' || n || '@example.com')::bytea),
           'First' || n % 1000, 'Last' || n % 5000, CASE n % 20 WHEN 0 THEN 'unsubscribed' ELSE 'subscribed' END,
           jsonb_build_object('1', n % 100), now() - n % 400 * interval '1 day'
    FROM generate_series(1, {contacts}) AS n;
    INSERT INTO custom_fields (organization_id, id, number, key, label, type)
    VALUES ({organization}, uuidv7(), 1, 'score', 'Score', 'number');
    INSERT INTO lists (organization_id, id, name) VALUES ({organization}, {list_id}, 'Readers');
    INSERT INTO memberships (organization_id, list_id, contact_id, source)
    SELECT organization_id, {list_id}, id, 'api' FROM contacts WHERE organization_id = {organization};
    INSERT INTO engagements (organization_id, kind, campaign_id, contact_id, last_at)
    SELECT organization_id, kind, '00000000-0000-0000-0000-000000000000', id, now() - random() * interval '120 days'
    FROM contacts, unnest(ARRAY['received', 'opened']) AS kind
    WHERE organization_id = {organization} AND (kind = 'received' OR hashtext(id::text) % 2 = 0);
    INSERT INTO usage (organization_id, contacts) VALUES ({organization}, {contacts});
""")


@dataclass(frozen=True)
class Stage:
    """Where everything is."""

    admin_url: str
    environment: dict[str, str]
    sending_key: str
    context: RequestContext
    list_id: UUID
    addresses: Addresses
    secrets: Secrets

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """The contacts process, serving."""
        serving = subprocess.Popen(
            [sys.executable, "-m", "services.contacts", "serve"],
            env=os.environ | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield serving
        finally:
            serving.terminate()
            serving.wait(20)

    def look(self, query: str) -> list[tuple[object, ...]]:
        """What a superuser sees in the schema."""
        with psycopg.connect(
            self.admin_url, autocommit=True, options="-c search_path=contacts"
        ) as connection:
            return connection.execute(query).fetchall()


@contextmanager
def stage(contacts: int) -> Iterator[Stage]:
    """Servers with the migrated schema, and an organization that has so many contacts, all in one list."""
    with tempfile.TemporaryDirectory(prefix="flownurture-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        keeper = [sys.executable, "-m", "deploy.local.servers.keeper", str(folder), str(os.getpid())]
        subprocess.Popen(keeper, start_new_session=True, stdout=subprocess.DEVNULL)  # noqa: S603 - of ours
        given = _given(folder)
        addresses = Addresses(**given["addresses"])
        secrets = Secrets(**given["secrets"])
        context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.MEMBER,
            organization_id=uuid4(),
            features=frozenset({"advanced_segments"}),
            limits=(("contacts", 1_000_000_000),),
        )
        environment = process_environment("contacts", addresses, secrets) | {
            "LISTEN": f"{HOST}:{free_port()}",
            "METRICS_LISTEN": f"{HOST}:{free_port()}",
        }
        sending = process_environment("sending", addresses, secrets)["STAMP_PRIVATE_KEY"]
        admin_url = make_url(given["admin_database_url"]).set(database=DATABASE)
        made = Stage(
            admin_url.render_as_string(hide_password=False),
            environment,
            sending,
            context,
            uuid4(),
            addresses,
            secrets,
        )
        _seed(made, contacts)
        yield made


def _given(folder: Path) -> dict[str, Any]:
    while not (folder / READY).exists():
        if (folder / FAILED).exists():
            raise SystemExit((folder / FAILED).read_text())
        time.sleep(0.1)
    given: dict[str, Any] = json.loads((folder / READY).read_text())
    return given


def _seed(stage: Stage, contacts: int) -> None:
    with psycopg.connect(stage.admin_url, autocommit=True, options="-c search_path=contacts") as connection:
        for statement in (
            _SEED.format(
                organization=Literal(stage.context.organization),
                contacts=Literal(contacts),
                list_id=Literal(stage.list_id),
            )
            .as_string(connection)
            .split(";\n")
        ):
            if statement.strip():
                connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
