"""Billing cycles, and the plan that begins with the next one."""

from alembic import op

from chassis.migrations.ddl import open_to

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE organizations
            -- Cycles are months that begin on this day.
            ADD cycle_anchor timestamptz NOT NULL DEFAULT now(),
            ADD next_plan text CHECK (next_plan IN ('free', 'starter', 'pro', 'enterprise')),
            ADD next_plan_at timestamptz,
            ADD CHECK ((next_plan IS NULL) = (next_plan_at IS NULL))
    """)
    op.execute(
        "CREATE INDEX organizations_by_next_plan ON organizations (next_plan_at) WHERE next_plan_at IS NOT NULL"
    )
    open_to(
        "identity_scheduler",
        "organizations",
        "SELECT",
        columns=["organization_id", "next_plan_at"],
    )
