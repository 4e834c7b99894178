"""Audiences of segments and tags as well, and what a campaign's templates say of each recipient."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _create_templates()
    # A change of the type sees every organization's rows, as an update would not.
    op.execute("""
        ALTER TABLE campaigns ALTER COLUMN list_ids TYPE jsonb USING jsonb_build_object(
            'include', jsonb_build_object(
                'list_ids', to_jsonb(list_ids), 'segment_ids', '[]'::jsonb, 'tags', '[]'::jsonb
            ),
            'exclude', '{"list_ids": [], "segment_ids": [], "tags": []}'::jsonb
        )
    """)
    op.execute("ALTER TABLE campaigns RENAME COLUMN list_ids TO audience_selection")
    op.execute("ALTER TABLE campaigns ADD COLUMN merge_fields text[] NOT NULL DEFAULT '{}'")
    op.execute("""
        ALTER TABLE campaigns ADD COLUMN template_id uuid,
        ADD FOREIGN KEY (organization_id, template_id) REFERENCES templates ON DELETE SET NULL (template_id)
    """)
    # What is in doubt may be sent again, if somebody says so.
    op.execute("""
        ALTER TABLE messages ADD COLUMN merge_fields jsonb
        CHECK (merge_fields IS NULL OR settled_at IS NULL OR status = 'indeterminate')
    """)


def _create_templates() -> None:
    op.execute(f"""
        CREATE TABLE templates (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            subject text NOT NULL DEFAULT '',
            html text NOT NULL DEFAULT '',
            text text NOT NULL DEFAULT '',
            is_layout boolean NOT NULL,
            layout_id uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, layout_id) REFERENCES templates,
            CHECK (layout_id IS NULL OR NOT is_layout)
        )
    """)
    op.execute("""
        CREATE INDEX templates_in_layout ON templates (organization_id, layout_id) WHERE layout_id IS NOT NULL
    """)
    protect("templates")
