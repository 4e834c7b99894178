"""How what this service holds of an organization is given to it when it leaves."""

from chassis.export import ExportRules

EXPORT_RULES = ExportRules(
    readable={
        # As in the trail, its origin: many receivers have secrets in the path.
        "endpoints.url": "substring(url from '^[^:]+://[^/?#]+')",
        # JSON, but for rows from before endpoints were there, which have no sequence.
        "events.payload": "CASE WHEN sequence IS NULL THEN to_json(translate(encode(payload, 'base64'), E'\\n', ''))"
        " ELSE convert_from(payload, 'UTF8')::json END",
    },
    left_out={
        "attempts.response_body": "secret: may repeat the address that was posted to, and what is in it",
        "endpoints.headers_sealed": "secret: what the receiver knows posts by",
        "endpoints.sealed_secret": "secret: signs what is posted",
        "endpoints.sealed_previous_secret": "secret: signs what is posted",
    },
)
