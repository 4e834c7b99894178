"""The tables of schema `sending`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    FetchedValue,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from chassis.columns import moment, organization_id

metadata = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


campaigns = Table(
    "campaigns",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _text("from_name"),
    Column("from_email", Text, nullable=False),
    _text("html"),
    _text("text"),
    # Whom it is for: lists, segments and tags, and those of them who are left out.
    Column("audience_selection", JSONB, nullable=False),
    # Which fields of a contact its templates name; known from the launch on.
    Column("merge_fields", ARRAY(Text), nullable=False, server_default="{}"),
    Column("template_id", Uuid),
    Column("track_opens", Boolean, nullable=False, server_default="true"),
    Column("track_clicks", Boolean, nullable=False, server_default="true"),
    Column("status", Text, nullable=False),
    # Which other subjects it tries, on how many and for how long; when that is over, and which one the rest gets.
    Column("subject_test", JSONB(none_as_null=True)),
    Column("test_ends_at", DateTime(timezone=True)),
    Column("winner", SmallInteger),
    Column("send_at", DateTime(timezone=True)),
    Column("messages_per_hour", Integer),
    # The throttle: nothing more of it is released before then.
    Column("next_release_at", DateTime(timezone=True)),
    Column("after_contact_id", Uuid),
    Column("audience", Integer, nullable=False, server_default="0"),
    Column("audience_complete", Boolean, nullable=False, server_default="false"),
    Column("lease_token", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("waiting_for_quota_since", DateTime(timezone=True)),
    # Why the platform paused it by itself; empty when somebody did, and while it is not paused.
    _text("pause_reason"),
    moment("created_at"),
    Column("launched_at", DateTime(timezone=True)),
    Column("completed_at", DateTime(timezone=True)),
)

templates = Table(
    "templates",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    _text("subject"),
    _text("html"),
    _text("text"),
    # Whether others may stand in it; and the one that it stands in.
    Column("is_layout", Boolean, nullable=False),
    Column("layout_id", Uuid),
    moment("created_at"),
    moment("updated_at"),
)

batches = Table(
    "batches",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("campaign_id", Uuid),
    Column("status", Text, nullable=False),
    # Of messages whose subject is tried.
    Column("of_test", Boolean, nullable=False, server_default="false"),
    # How many messages were made in it.
    Column("size", Integer, nullable=False, server_default="1"),
    # All of it was attempted: what is left waits for another attempt, and keeps no other batch waiting.
    Column("tried", Boolean, nullable=False, server_default="false"),
    Column("usage_cycle", DateTime(timezone=True)),
    moment("created_at"),
    # Since when its queued messages are approved.
    Column("decided_at", DateTime(timezone=True)),
    # A delivery process has it, and with it all of its messages that are due.
    Column("lease_token", Uuid),
    Column("leased_at", DateTime(timezone=True)),
    moment("due_at"),
)

email_usage = Table(
    "email_usage",
    metadata,
    organization_id(),
    Column("cycle_started_at", DateTime(timezone=True), primary_key=True),
    Column("emails", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("batch_id", Uuid, nullable=False),
    Column("campaign_id", Uuid),
    Column("contact_id", Uuid),
    Column("email", Text, nullable=False),
    Column("email_digest", LargeBinary, nullable=False),
    Column("category", Text, nullable=False, server_default="marketing"),
    # Which mail of a workflow it is, where one made it.
    Column("workflow_mail_id", Uuid),
    # Which of its campaign's subjects is tried on it.
    Column("variant", SmallInteger),
    # Those fields, as they were when the campaign or workflow reached the contact; only until the message is settled.
    Column("merge_fields", JSONB),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("veto_reason", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", DateTime(timezone=True)),
    _text("smtp_reply"),
    moment("created_at"),
    Column("settled_at", DateTime(timezone=True)),
)

message_contents = Table(
    "message_contents",
    metadata,
    organization_id(),
    Column("message_id", Uuid, primary_key=True),
    _text("from_name"),
    Column("from_email", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _text("html"),
    _text("text"),
    # Both of them, where their link lets in whoever has it.
    Column("sealed_body", LargeBinary),
)

# What became of a message and is no longer told by its row: whoever overwrites an outcome keeps it here.
message_events = Table(
    "message_events",
    metadata,
    organization_id(),
    Column("message_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("status", Text, nullable=False),
    _text("detail"),
    moment("occurred_at"),
)

domains = Table(
    "domains",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("findings", JSONB, nullable=False, server_default="{}"),
    Column("failures", Integer, nullable=False, server_default="0"),
    moment("created_at"),
    Column("verified_at", DateTime(timezone=True)),
    Column("checked_at", DateTime(timezone=True)),
    moment("next_check_at"),
)

dkim_keys = Table(
    "dkim_keys",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("domain_id", Uuid, nullable=False),
    Column("selector", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("public_key", Text, nullable=False),
    moment("created_at"),
    # It signs from when its record is in the DNS until a newer one does.
    Column("found_at", DateTime(timezone=True)),
    Column("retired_at", DateTime(timezone=True)),
)

ip_pools = Table(
    "ip_pools",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    moment("created_at"),
)

ip_pool_addresses = Table(
    "ip_pool_addresses",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("ip_pool_id", Uuid, nullable=False),
    Column("sealed_relay_url", LargeBinary),
    # What of it may be shown.
    _text("relay"),
    _text("source_address"),
    moment("created_at"),
    Column("warm_at", DateTime(timezone=True)),
)

ip_pool_days = Table(
    "ip_pool_days",
    metadata,
    organization_id(),
    Column("address_id", Uuid, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("allowed", Integer, nullable=False),
    Column("handed_over", Integer, nullable=False),
)

suppressions = Table(
    "suppressions",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("email_digest", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    _text("email"),
    _text("note"),
    Column("message_id", Uuid),
    # Who put it on the list.
    _text("actor_kind"),
    _text("actor_id"),
    # Of a bounce or a complaint: the finding that it came of.
    _text("rule"),
    _text("source"),
    Column("report_id", Uuid),
    moment("created_at"),
    # When it was last said, under the lock: who opts out once more, while they are being welcomed back, stays out.
    moment("reaffirmed_at"),
)

# What refusals and reports say of messages.
feedback_findings = Table(
    "feedback_findings",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("message_id", Uuid, nullable=False),
    Column("email_digest", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    _text("enhanced_status"),
    _text("rule"),
    Column("source", Text, nullable=False),
    _text("reporter"),
    Column("report_id", Uuid),
    moment("occurred_at"),
)

# Who has confirmed that they want mail again, and what proves it. Only ever added to, by a role of its own.
resubscriptions = Table(
    "resubscriptions",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("email_digest", LargeBinary, nullable=False),
    Column("confirmed_at", DateTime(timezone=True), nullable=False),
    moment("recorded_at"),
    Column("event_id", Uuid),
    Column("link_good_until", DateTime(timezone=True)),
)

# When campaigns and workflows send nothing, and how much marketing an address gets at most.
sending_policies = Table(
    "sending_policies",
    metadata,
    organization_id(),
    Column("time_zone", Text, nullable=False),
    Column("quiet_from", Time),
    Column("quiet_until", Time),
    # The quiet hours that are or come next, as moments.
    Column("quiet_begins_at", DateTime(timezone=True)),
    Column("quiet_ends_at", DateTime(timezone=True)),
    Column("cap_messages", Integer),
    Column("cap_days", Integer),
    # When its places are looked at for those that are too old.
    moment("next_look_at"),
)

# Marketing that an address got, or is to get, since there was a cap. Whether one counts its message's row tells.
frequency_places = Table(
    "frequency_places",
    metadata,
    organization_id(),
    Column("email_digest", LargeBinary, primary_key=True),
    Column("message_id", Uuid, primary_key=True),
    moment("taken_at"),
)

# Until when an operator lets an organization send in spite of its reputation.
reputation_overrides = Table(
    "reputation_overrides",
    metadata,
    organization_id(),
    Column("until", DateTime(timezone=True), nullable=False),
)

# Where each link of a mailing leads. Here and in the counts below, what is called a campaign may be the mail of a workflow.
campaign_links = Table(
    "campaign_links",
    metadata,
    organization_id(),
    Column("campaign_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("url", Text, nullable=False),
)

# What was asked for a moment ago.
engagement_hits = Table(
    "engagement_hits",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("kind", Text, nullable=False),
    Column("campaign_id", Uuid, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("link_number", Integer, nullable=False),
    Column("bot_rule", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
)

# What recipients did with mail; partitioned by month.
engagement_events = Table(
    "engagement_events",
    metadata,
    organization_id(),
    Column("occurred_at", DateTime(timezone=True), primary_key=True),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("kind", Text, nullable=False),
    Column("campaign_id", Uuid),
    Column("workflow_mail_id", Uuid),
    Column("message_id", Uuid, nullable=False),
    Column("contact_id", Uuid),
    Column("link_number", Integer, nullable=False, server_default="0"),
    # By which rule it was a program; empty for a person.
    Column("bot_rule", Text, nullable=False, server_default=""),
)

# A person's first of each kind with each message: of a link, or of the message itself, whose number is 0.
first_engagements = Table(
    "first_engagements",
    metadata,
    organization_id(),
    Column("message_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("link_number", Integer, primary_key=True),
    Column("campaign_id", Uuid, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
)

# By hour: what persons did, with how many messages they did it first, and what programs did.
engagement_counts = Table(
    "engagement_counts",
    metadata,
    organization_id(),
    Column("campaign_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("link_number", Integer, primary_key=True),
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("by_bots", BigInteger, nullable=False),
)

# What became of messages, by hour.
message_counts = Table(
    "message_counts",
    metadata,
    organization_id(),
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("status", Text, primary_key=True),
    Column("messages", BigInteger, nullable=False),
)

# When an organization's events are looked at for those that are too old.
event_retention = Table(
    "event_retention",
    metadata,
    organization_id(),
    moment("next_look_at"),
)

workflows = Table(
    "workflows",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    # The newest; those under way may be on older ones.
    Column("version", Integer, nullable=False),
    moment("created_at"),
    moment("updated_at"),
    Column("activated_at", DateTime(timezone=True)),
)

workflow_versions = Table(
    "workflow_versions",
    metadata,
    organization_id(),
    Column("workflow_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    # The contract's WorkflowDocument, as JSON by its own names.
    Column("document", JSONB, nullable=False),
    moment("created_at"),
)

# Which events a version that may run begins with, or waits for; of no subject: whatever it is about.
workflow_listeners = Table(
    "workflow_listeners",
    metadata,
    organization_id(),
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("workflow_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("begins", Boolean, primary_key=True),
)

# Each time that a contact is, or was, in a workflow.
enrollments = Table(
    "enrollments",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("workflow_id", Uuid, nullable=False),
    Column("contact_id", Uuid, nullable=False),
    Column("email_digest", LargeBinary),
    Column("source", Text, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("cause", Text),
    _text("reason"),
)

# Where those are who are under way.
enrollment_places = Table(
    "enrollment_places",
    metadata,
    organization_id(),
    Column("enrollment_id", Uuid, primary_key=True),
    Column("workflow_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("wake_at", DateTime(timezone=True), nullable=False),
    Column("waiting", Boolean, nullable=False),
    # How many lines its trace has.
    Column("traced", Integer, nullable=False, server_default="0"),
    # The last event that ordered something of the contacts service.
    Column("change_id", Uuid),
    # Why a step that is due was not taken yet.
    _text("held"),
)

# What became of each visit of a step, in its order.
enrollment_trace = Table(
    "enrollment_trace",
    metadata,
    organization_id(),
    Column("enrollment_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("why", Text, nullable=False),
)

# Of workflows that begin with a date: until when it was looked whose has come.
workflow_occasions = Table(
    "workflow_occasions",
    metadata,
    organization_id(),
    Column("workflow_id", Uuid, primary_key=True),
    Column("looked_until", DateTime(timezone=True), nullable=False),
)

# How many came in, took a step, left and why, by version.
workflow_counts = Table(
    "workflow_counts",
    metadata,
    organization_id(),
    Column("workflow_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("step_id", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# What the steps of a workflow's versions write, each as it was when the version was made ready to run.
workflow_mails = Table(
    "workflow_mails",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("workflow_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("step_id", Text, nullable=False),
    _text("from_name"),
    Column("from_email", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _text("html"),
    _text("text"),
    # Which fields of a contact its templates name.
    Column("merge_fields", ARRAY(Text), nullable=False, server_default="{}"),
)

# By which step of which enrollment a message came to be. An effect makes one message.
workflow_messages = Table(
    "workflow_messages",
    metadata,
    organization_id(),
    Column("message_id", Uuid, primary_key=True),
    Column("effect_id", Uuid, nullable=False),
    Column("enrollment_id", Uuid, nullable=False),
    Column("workflow_id", Uuid, nullable=False),
    Column("step_id", Text, nullable=False),
)

# Platform tables: they belong to no organization.
delivery_leases = Table(
    "delivery_leases",
    metadata,
    Column("token", Uuid, primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

feedback_reports = Table(
    "feedback_reports",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("mail_from", Text, nullable=False),
    Column("rcpt_to", ARRAY(Text), nullable=False),
    Column("content", LargeBinary, nullable=False),
    # Who posted it; empty for a mail.
    _text("provider"),
    moment("received_at"),
    # When it is to be processed; NULL once it is.
    Column("due_at", DateTime(timezone=True)),
)
