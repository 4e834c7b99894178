"""What the feedback process is told by its environment."""

from typing import Annotated

from pydantic import AfterValidator, Field, Json

from chassis.secret import Secret
from chassis.settings import Address, DatabaseSettings, ProcessSettings
from services.sending.feedback.providers.sendgrid import read_public_key
from services.sending.feedback.providers.sns import Topic


def _topic(arn: str) -> str:
    return Topic.parse(arn).arn


def _public_key(text: str) -> str:
    try:
        read_public_key(text)
    except ValueError:
        raise ValueError("must be a public key on the curve P-256, DER in base64") from None
    return text


def _credentials(given: Secret) -> Secret:
    user, _, password = given.reveal().partition(":")
    if not user or not password:
        raise ValueError("must be user:password")
    return given


class FeedbackSettings(ProcessSettings, DatabaseSettings):
    """The feedback process takes in by SMTP what comes back: bounces, complaints, and mails by which people opt out.

    Providers that mail is handed to post the same. A provider whose proof is not set is not listened to.
    """

    smtp_listen: Address = Field(description="host:port on which reports are accepted by SMTP")
    link_keys: Json[list[Secret]] = Field(
        description="keys of links in mail: JSON list of 32 bytes in base64; the first signs, all verify"
    )
    reports_kept_days: int = Field(
        30, ge=1, le=366, description="for how many days reports are kept as they came"
    )
    ses_topic_arns: Json[list[Annotated[str, AfterValidator(_topic)]]] | None = Field(
        None, description="the SNS topics that Amazon SES tells of bounces and complaints: JSON list of ARNs"
    )
    postmark_credentials: Annotated[Secret, AfterValidator(_credentials)] | None = Field(
        None, description="user:password that Postmark's webhooks show (HTTP basic authentication)"
    )
    sendgrid_public_key: Annotated[str, AfterValidator(_public_key)] | None = Field(
        None, description="the verification key of SendGrid's signed event webhook, as SendGrid shows it"
    )
    mailgun_signing_key: Secret | None = Field(None, description="Mailgun's HTTP webhook signing key")
    brevo_token: Secret | None = Field(None, description="the token that Brevo's webhooks show (bearer)")
