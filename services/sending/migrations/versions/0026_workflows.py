"""Workflows with their versions and what each listens for; who is in one, where they are, and how they came there."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    _create_workflows()
    _create_enrollments()
    _create_places()
    _create_trace_and_counts()


def _create_workflows() -> None:
    op.execute(f"""
        CREATE TABLE workflows (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            status text NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'archived')),
            version integer NOT NULL CHECK (version > 0),
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            activated_at timestamptz,
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX workflows_active ON workflows (organization_id, id) WHERE status = 'active'")
    op.execute("CREATE INDEX workflows_archived ON workflows (organization_id, id) WHERE status = 'archived'")
    protect("workflows")
    open_to(f"{schema()}_scheduler", "workflows", "SELECT", ["organization_id", "id", "status"])
    op.execute(f"""
        CREATE TABLE workflow_versions (
            {ORGANIZATION_ID},
            workflow_id uuid NOT NULL,
            number integer NOT NULL CHECK (number > 0),
            document jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, workflow_id, number),
            FOREIGN KEY (organization_id, workflow_id) REFERENCES workflows ON DELETE CASCADE
        )
    """)
    protect("workflow_versions")
    # Which events a version that may run begins with, or waits for.
    op.execute(f"""
        CREATE TABLE workflow_listeners (
            {ORGANIZATION_ID},
            kind text NOT NULL,
            subject text NOT NULL,
            workflow_id uuid NOT NULL,
            version integer NOT NULL,
            begins boolean NOT NULL,
            PRIMARY KEY (organization_id, kind, subject, workflow_id, version, begins),
            FOREIGN KEY (organization_id, workflow_id, version) REFERENCES workflow_versions ON DELETE CASCADE
        )
    """)
    op.execute(
        "CREATE INDEX workflow_listeners_of_version ON workflow_listeners (organization_id, workflow_id, version)"
    )
    protect("workflow_listeners", "SELECT, INSERT, DELETE")


def _create_enrollments() -> None:
    # Without a foreign key to their workflow: they outlive nothing, since what was ever active is archived and not deleted.
    op.execute(f"""
        CREATE TABLE enrollments (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            workflow_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            -- None once the person is erased.
            email_digest bytea,
            source text NOT NULL,
            began_at timestamptz NOT NULL,
            ended_at timestamptz,
            cause text,
            reason text NOT NULL DEFAULT '',
            PRIMARY KEY (organization_id, id),
            CHECK ((ended_at IS NULL) = (cause IS NULL))
        )
    """)
    # Nobody is in a workflow twice at a time.
    op.execute("""
        CREATE UNIQUE INDEX enrollments_under_way ON enrollments (organization_id, contact_id, workflow_id)
        WHERE ended_at IS NULL
    """)
    op.execute("""
        CREATE INDEX enrollments_of_contact ON enrollments (organization_id, workflow_id, contact_id, began_at)
    """)
    op.execute("""
        CREATE INDEX enrollments_of_address ON enrollments (organization_id, email_digest) WHERE ended_at IS NULL
    """)
    op.execute("CREATE INDEX enrollments_of_workflow ON enrollments (organization_id, workflow_id, id)")
    protect("enrollments", "SELECT, INSERT, UPDATE")


def _create_places() -> None:
    # Of those who are under way. Small, and with one index beside its key, since each step writes its row anew.
    op.execute(f"""
        CREATE TABLE enrollment_places (
            {ORGANIZATION_ID},
            enrollment_id uuid NOT NULL,
            workflow_id uuid NOT NULL,
            version integer NOT NULL,
            step_id text NOT NULL,
            visit integer NOT NULL,
            since timestamptz NOT NULL,
            wake_at timestamptz NOT NULL,
            waiting boolean NOT NULL,
            -- How many lines its trace has.
            traced integer NOT NULL DEFAULT 0,
            -- The last event that ordered something of the contacts service.
            change_id uuid,
            -- Why a step that is due was not taken yet.
            held text NOT NULL DEFAULT '',
            PRIMARY KEY (organization_id, enrollment_id),
            FOREIGN KEY (organization_id, enrollment_id) REFERENCES enrollments ON DELETE CASCADE
        ) WITH (fillfactor = 85)
    """)
    op.execute(
        "CREATE INDEX enrollment_places_due ON enrollment_places (organization_id, workflow_id, wake_at)"
    )
    protect("enrollment_places")
    columns = ["organization_id", "workflow_id", "wake_at"]
    open_to(f"{schema()}_scheduler", "enrollment_places", "SELECT", columns)


def _create_trace_and_counts() -> None:
    op.execute(f"""
        CREATE TABLE enrollment_trace (
            {ORGANIZATION_ID},
            enrollment_id uuid NOT NULL,
            number integer NOT NULL,
            version integer NOT NULL,
            step_id text NOT NULL,
            visit integer NOT NULL,
            at timestamptz NOT NULL,
            why text NOT NULL,
            PRIMARY KEY (organization_id, enrollment_id, number)
        )
    """)
    protect("enrollment_trace", "SELECT, INSERT")
    op.execute(f"""
        CREATE TABLE workflow_counts (
            {ORGANIZATION_ID},
            workflow_id uuid NOT NULL,
            version integer NOT NULL,
            step_id text NOT NULL,
            what text NOT NULL,
            reason text NOT NULL,
            number bigint NOT NULL,
            PRIMARY KEY (organization_id, workflow_id, version, step_id, what, reason)
        )
    """)
    protect("workflow_counts", "SELECT, INSERT, UPDATE")
