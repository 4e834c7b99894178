"""Audiences of segments and tags as well, and what a campaign's templates say of each recipient."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
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
    # What is in doubt may be sent again, if somebody says so.
    op.execute("""
        ALTER TABLE messages ADD COLUMN merge_fields jsonb
        CHECK (merge_fields IS NULL OR settled_at IS NULL OR status = 'indeterminate')
    """)
