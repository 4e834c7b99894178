"""How what this service holds of an organization is given to it when it leaves."""

from chassis.export import ExportRules, in_hex

EXPORT_RULES = ExportRules(
    readable={
        "invitations.email_digest": in_hex("email_digest"),
        # The trail is verified by them: docs/audit.md.
        "audit_events.previous_hash": in_hex("previous_hash"),
        "audit_events.hash": in_hex("hash"),
    },
    left_out={
        "refresh_tokens": "secret: by which sessions are renewed",
        "invitations.token_digest": "secret: of what lets somebody in",
        "api_keys.secret_digest": "secret: of what lets somebody in",
        "api_keys.sealed_chain_key": "secret: from which keys are derived",
    },
    # Who the members are. Of their accounts, which are their own, no more than the organization sees of them.
    narrowed=("users",),
)
