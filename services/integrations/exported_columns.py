"""How what this service holds of an organization is given to it when it leaves."""

from chassis.export import ExportRules

EXPORT_RULES = ExportRules(
    left_out={
        "credentials.sealed_token": "secret: opens an account elsewhere",
        "credentials.sealed_refresh_token": "secret: opens an account elsewhere",
        "authorizations.sealed_verifier": "secret: proves who asked for an account elsewhere",
        "revocations.sealed_token": "secret: is being revoked",
    }
)
