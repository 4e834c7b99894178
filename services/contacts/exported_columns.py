"""How what this service holds of an organization is given to it when it leaves."""

from chassis.export import ExportRules, in_hex

_DIGESTS = ("contacts", "suppressed_addresses", "list_refusals", "form_submissions", "import_addresses")

EXPORT_RULES = ExportRules(
    readable={
        # SHA-256 of an address: who has the address knows by it whose the row is.
        **{f"{table}.email_digest": in_hex("email_digest") for table in _DIGESTS},
        # As it came, in whatever encoding.
        "import_parts.content": "translate(encode(content, 'base64'), E'\\n', '')",
    },
)
