"""Posts as providers make them, each with what it says; and what proves each genuine, with keys of the tests' own."""

import hmac
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from chassis.secret import Secret
from services.sending.feedback.providers.provider import Post

_FOLDER = Path(__file__).with_name("posts")

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail-feedback"
SNS_HOST = "sns.eu-west-1.amazonaws.com"
CERTIFICATE_PATH = "/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem"
SUBSCRIBE_URL = f"https://{SNS_HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
OPTED_OUT = "opt_out"


@dataclass(frozen=True, slots=True)
class Posted:
    """A post, and what it says of each message that it says something against, in its order."""

    provider: str
    name: str
    says: tuple[str, ...]
    status: str
    document: Any

    def filled(self, **values: str) -> bytes:
        """The document with these in its places; what a provider signs besides is put around it by `Keys`."""
        text = json.dumps(self.document)
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text.encode()


def posted() -> Iterator[Posted]:
    """All of them."""
    for path in sorted(_FOLDER.glob("*.json")):
        for name, case in json.loads(path.read_text("utf-8")).items():
            yield Posted(path.stem, name, tuple(case["says"]), case.get("status", ""), case["post"])


def post_named(provider: str, name: str) -> Posted:
    """The one of this name."""
    return next(each for each in posted() if (each.provider, each.name) == (provider, name))


@dataclass
class Keys:
    """What a platform and its providers have agreed on."""

    postmark: Secret = field(default_factory=lambda: Secret("postmark:a long and random password"))
    mailgun: Secret = field(default_factory=lambda: Secret("key-3ax6xnjp29jd6fds4gc373sgvjxteol0"))
    brevo: Secret = field(default_factory=lambda: Secret("a long and random token"))

    @cached_property
    def sendgrid(self) -> ec.EllipticCurvePrivateKey:
        """SendGrid's."""
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def sns(self) -> rsa.RSAPrivateKey:
        """That of SNS."""
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def sendgrid_public(self) -> str:
        """As SendGrid shows it."""
        der = self.sendgrid.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b64encode(der).decode()

    def settings(self) -> Mapping[str, Any]:
        """What the feedback process is told of them."""
        return {
            "ses_topic_arns": json.dumps([TOPIC]),
            "postmark_credentials": self.postmark,
            "sendgrid_public_key": self.sendgrid_public,
            "mailgun_signing_key": self.mailgun,
            "brevo_token": self.brevo,
        }

    def genuine(self, post: Posted, **values: str) -> Post:
        """The post as its provider sends it now."""
        made: Mapping[str, Callable[[bytes], Post]] = {
            "brevo": lambda body: Post({"authorization": f"Bearer {self.brevo.reveal()}"}, body),
            "mailgun": self.of_mailgun,
            "postmark": lambda body: Post({"authorization": basic(self.postmark)}, body),
            "sendgrid": self.of_sendgrid,
            "ses": lambda body: Post({}, self.of_sns(Message=body.decode())),
        }
        return made[post.provider](post.filled(**values))

    def of_sendgrid(self, body: bytes, at: float | None = None) -> Post:
        """Signed, at a time in seconds since 1970."""
        timestamp = str(int(at or time.time()))
        signature = self.sendgrid.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        return Post(
            {
                "x-twilio-email-event-webhook-timestamp": timestamp,
                "x-twilio-email-event-webhook-signature": b64encode(signature).decode(),
            },
            body,
        )

    def of_mailgun(self, body: bytes, at: float | None = None) -> Post:
        """The same."""
        timestamp, token = str(int(at or time.time())), "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0"
        signed = f"{timestamp}{token}".encode()
        signature = hmac.digest(self.mailgun.reveal().encode(), signed, "sha256").hex()
        for name, value in (("timestamp", timestamp), ("signing_token", token), ("signature", signature)):
            body = body.replace(f"{{{name}}}".encode(), value.encode())
        return Post({}, body)

    def of_sns(self, version: str = "1", at: datetime | None = None, **members: str) -> bytes:
        """A message of SNS with these members, signed as the documentation of SNS has it."""
        message = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": "",
            "Timestamp": (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "SigningCertURL": f"https://{SNS_HOST}{CERTIFICATE_PATH}",
            **members,
        }
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        if message["Type"] != "Notification":
            names[2:3] = ["SubscribeURL"]
            names.insert(4, "Token")
        text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
        signature = self.sns.sign(text, PKCS1v15(), SHA1() if version == "1" else SHA256())
        message |= {"SignatureVersion": version, "Signature": b64encode(signature).decode()}
        return json.dumps(message).encode()

    def certificate(
        self, name: str = "sns.amazonaws.com", lasts: timedelta = timedelta(days=1), key: Any = None
    ) -> bytes:
        """That of SNS, PEM."""
        now, key = datetime.now(UTC), key or self.sns
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + lasts)
            .sign(key, SHA256())
        )
        return made.public_bytes(Encoding.PEM)


def basic(credentials: Secret) -> str:
    """An Authorization header."""
    return f"Basic {b64encode(credentials.reveal().encode()).decode()}"
