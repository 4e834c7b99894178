"""Messages of Amazon SNS: proven by a signature whose certificate comes from SNS itself, in the region of a topic that we know.

Who made a message may name any topic and any address of a certificate. So the topic must be one of ours, and the certificate's host is
made from that topic; what the message names must agree with it.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509.oid import NameOID

from chassis.errors import Unauthenticated
from services.sending.feedback.providers.document import Document
from services.sending.feedback.providers.provider import from_base64

# Answers the body of a GET of an https URL, at most some kilobytes of it. Raises Unauthenticated where there is none, or Unavailable.
Visit = Callable[[str], Awaitable[bytes]]

_TOPIC = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2,4}(?:-[a-z]{1,12}){1,3}-\d{1,2}):\d{12}:[\w-]{1,256}"
)
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
# In whose name SNS signs, in all its regions.
_SIGNER = re.compile(r"sns(-signing)?(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
# SNS goes on trying for an hour at most. What is kept longer before it comes is somebody else's.
_LONGEST_UNDER_WAY = timedelta(hours=24)
_LEEWAY = timedelta(minutes=5)
_MOST_KEPT = 16
_KEPT_FOR = timedelta(hours=24)

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SUBSCRIBED = "SubscriptionConfirmation"
_SIGNED = {
    "Notification": _NOTIFICATION,
    _SUBSCRIBED: _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
# The first is what SNS does unless it is told otherwise. Whoever wants to forge needs a second preimage, which SHA-1 still withholds.
_DIGESTS: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that SES publishes to."""

    arn: str
    host: str

    @classmethod
    def parse(cls, arn: str) -> "Topic":
        """Read `arn:aws:sns:region:account:name`. Raises ValueError for anything else."""
        found = _TOPIC.fullmatch(arn)
        if found is None:
            raise ValueError("must be the ARN of an SNS topic")
        partition, region = found.groups()
        return cls(arn, f"sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}")


class Subscription:
    """Ours to some topics: admits what they send, and nothing else."""

    def __init__(self, topics: Iterable[Topic], visit: Visit) -> None:
        self._topics = {topic.arn: topic for topic in topics}
        self._visit = visit
        self._certificates = Certificates(visit)

    async def admit(self, body: bytes) -> None:
        """Return for a genuine message. Raises Unauthenticated for any other, Unavailable where SNS itself cannot be reached."""
        message = Document.read(body)
        topic = self._topics.get(message.text("TopicArn"))
        names = _SIGNED.get(message.text("Type"))
        digest = _DIGESTS.get(message.text("SignatureVersion"))
        if topic is None or names is None or digest is None:
            raise Unauthenticated
        _require_recent(message.text("Timestamp"))
        signature = from_base64(message.text("Signature"))
        key = await self._certificates.key(_certificate_of(message.text("SigningCertURL"), topic))
        try:
            key.verify(signature, signed_text(message, names), PKCS1v15(), digest)
        except InvalidSignature:
            raise Unauthenticated from None
        if message.text("Type") == _SUBSCRIBED:
            await self._visit(_confirmation_of(message.text("SubscribeURL"), topic))


class Certificates:
    """Those that SNS signs with, kept for a day."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._known: dict[str, tuple[datetime, RSAPublicKey]] = {}

    async def key(self, url: str) -> RSAPublicKey:
        """The key of the certificate at an address of SNS. Raises Unauthenticated where there is none that is good now."""
        until, key = self._known.get(url, (None, None))
        if until is not None and key is not None and datetime.now(UTC) < until:
            return key
        certificate = _certificate(await self._visit(url))
        key = _key(certificate)
        if len(self._known) >= _MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[url] = min(certificate.not_valid_after_utc, datetime.now(UTC) + _KEPT_FOR), key
        return key


def signed_text(message: Document, names: Iterable[str]) -> bytes:
    """What SNS signs of a message: each of these members that it has, after its name."""
    return "".join(f"{name}\n{message.text(name)}\n" for name in names if name in message).encode()


def _certificate_of(url: str, topic: Topic) -> str:
    if not url.startswith(f"https://{topic.host}/") or not _CERTIFICATE.fullmatch(
        url.removeprefix(f"https://{topic.host}")
    ):
        raise Unauthenticated
    return url


def _confirmation_of(url: str, topic: Topic) -> str:
    """Signed as it is, it may lead nowhere but to SNS, and do nothing there but confirm this topic."""
    place, _, query = url.partition("?")
    asked = parse_qs(query)
    if (
        place != f"https://{topic.host}/"
        or asked.get("Action") != ["ConfirmSubscription"]
        or asked.get("TopicArn") != [topic.arn]
    ):
        raise Unauthenticated
    return url


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise Unauthenticated from None
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise Unauthenticated
    if not any(map(_SIGNER.fullmatch, _names(certificate))):
        raise Unauthenticated
    return certificate


def _names(certificate: x509.Certificate) -> list[str]:
    names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return names
    return [*names, *others.get_values_for_type(x509.DNSName)]


def _key(certificate: x509.Certificate) -> RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise Unauthenticated
    return key


def _require_recent(timestamp: str) -> None:
    try:
        sent = datetime.fromisoformat(timestamp)
    except ValueError:
        raise Unauthenticated from None
    if sent.tzinfo is None or not -_LEEWAY <= datetime.now(UTC) - sent <= _LONGEST_UNDER_WAY:
        raise Unauthenticated
