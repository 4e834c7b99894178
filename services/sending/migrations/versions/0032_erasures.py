"""Organizations that are erased."""

from alembic import op

from chassis.migrations.ddl import create_erasures

revision = "0032"
down_revision = "0031"

# What nothing is deleted from but with its organization.
_ADDED_TO = (
    "email_usage",
    "message_counts",
    "event_retention",
    "message_events",
    "enrollments",
    "enrollment_trace",
    "workflow_counts",
    "campaign_links",
    "first_engagements",
    "engagement_counts",
    "workflow_mails",
    "workflow_messages",
    "suppression_list_versions",
    "decision_chains",
    "sending_policies",
    "resubscriptions",
)


def upgrade() -> None:
    # Of the processes that share this schema one alone hears of erasures, and is this role.
    create_erasures(_ADDED_TO, noted_by="erasure")
    _let_opt_outs_go_with_their_organization()


def _let_opt_outs_go_with_their_organization() -> None:
    # As in 0018, but for an organization that is erased: the role that deletes cannot say that one is.
    op.execute("""
        CREATE OR REPLACE FUNCTION keep_opt_out() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND (EXISTS (
                SELECT FROM sending.resubscriptions AS resubscription
                WHERE resubscription.organization_id = OLD.organization_id
                  AND resubscription.email_digest = OLD.email_digest
                  AND resubscription.confirmed_at > OLD.reaffirmed_at
            ) OR EXISTS (
                SELECT FROM sending.erasures AS erasure WHERE erasure.organization_id = OLD.organization_id
            )) THEN
                RETURN OLD;
            END IF;
            RAISE restrict_violation USING
                MESSAGE = 'only the recipient lifts an opt-out',
                HINT = 'It takes a confirmed re-subscription on the ledger, later than the opt-out was last said.',
                SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
        END
        $$
    """)
