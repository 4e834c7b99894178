"""How what this schema holds of an organization is given to it when it leaves."""

from chassis.export import ExportRules, in_hex

_DIGESTS = (
    "messages",
    "suppressions",
    "feedback_findings",
    "resubscriptions",
    "frequency_places",
    "enrollments",
)

EXPORT_RULES = ExportRules(
    readable={
        # SHA-256 of an address: who has the address knows by it whose the row is.
        **{f"{table}.email_digest": in_hex("email_digest") for table in _DIGESTS},
        # The ids of messages, one after another.
        "decisions.allowed": "ARRAY(SELECT encode(substr(allowed, 16 * number + 1, 16), 'hex')::uuid"
        " FROM generate_series(0, octet_length(allowed) / 16 - 1) AS number)",
        "decision_chains.head": in_hex("head"),
        "decision_links.hash": in_hex("hash"),
    },
    left_out={
        "dkim_keys.sealed_key": "secret: signs mail in the name of a domain",
        "ip_pool_addresses.sealed_relay_url": "secret: has a relay's password",
        "message_contents.sealed_body": "secret: has a link that lets in whoever has it",
    },
)
