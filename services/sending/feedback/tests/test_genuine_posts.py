"""How posts are proven: what is genuine gets in, and nothing else does, however little differs."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chassis.errors import Unauthenticated
from chassis.secret import Secret
from services.sending.feedback.providers.brevo import Brevo
from services.sending.feedback.providers.directory import EVENTS
from services.sending.feedback.providers.mailgun import Mailgun
from services.sending.feedback.providers.postmark import Postmark
from services.sending.feedback.providers.provider import Post, Provider
from services.sending.feedback.providers.sendgrid import SendGrid
from services.sending.feedback.providers.ses import Ses
from services.sending.feedback.providers.sns import Subscription, Topic
from services.sending.feedback.tests.posted import (
    CERTIFICATE_PATH,
    SNS_HOST,
    SUBSCRIBE_URL,
    TOPIC,
    Keys,
    basic,
    post_named,
)

KEYS = Keys()
NAMES = {
    "brevo": "no_such_user",
    "mailgun": "no_such_user",
    "postmark": "no_such_user",
    "sendgrid": "many_at_once",
    "ses": "no_such_user",
}
CERTIFICATE_URL = f"https://{SNS_HOST}{CERTIFICATE_PATH}"


class Sns:
    """What SNS has at its addresses, and who was there."""

    def __init__(self, certificate: bytes = b"") -> None:
        self.certificate = certificate or KEYS.certificate()
        self.visited: list[str] = []

    async def visit(self, url: str) -> bytes:
        self.visited.append(url)
        return self.certificate if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"


def ses(sns: Sns) -> Ses:
    return Ses(Subscription([Topic.parse(TOPIC)], sns.visit))


def providers() -> Mapping[str, Provider]:
    return {
        "brevo": Brevo(KEYS.brevo),
        "mailgun": Mailgun(KEYS.mailgun),
        "postmark": Postmark(KEYS.postmark),
        "sendgrid": SendGrid(KEYS.sendgrid_public),
        "ses": ses(Sns()),
    }


def genuine(provider: str) -> Post:
    return KEYS.genuine(post_named(provider, NAMES[provider]), token="t", return_path="r")


async def refuses(provider: Provider, post: Post) -> bool:
    try:
        await provider.admit(post)
    except Unauthenticated:
        return True
    return False


@pytest.mark.parametrize("name", EVENTS)
async def test_a_genuine_post_gets_in(name: str) -> None:
    await providers()[name].admit(genuine(name))


@pytest.mark.parametrize("name", EVENTS)
async def test_a_post_without_its_proof_is_refused_whatever_else_it_is(name: str) -> None:
    provider = providers()[name]
    for body in (b"", b"[]", b"{}", b"\xff", b"[" * 10_000, post_named(name, NAMES[name]).filled()):
        assert await refuses(provider, Post({}, body))


def changed(text: str, place: int) -> str:
    """The text with another character of its kind there."""
    letter = text[place]
    other = "1" if letter == "0" else "0" if letter.isdigit() else "B" if letter == "A" else "A"
    return text[:place] + other + text[place + 1 :]


@pytest.mark.parametrize("name", ["brevo", "postmark"])
async def test_a_credential_of_which_a_character_differs_is_refused(name: str) -> None:
    provider, post = providers()[name], genuine(name)
    shown = post.headers["authorization"]
    # The scheme is in any case.
    for place in range(shown.index(" "), len(shown)):
        assert await refuses(provider, Post({"authorization": changed(shown, place)}, post.body))
    for other in (shown[:-1], shown + "A", shown.partition(" ")[2], "Basic", "Bearer ", "Bearer \udcff"):
        assert await refuses(provider, Post({"authorization": other}, post.body))


async def test_the_scheme_of_a_credential_is_in_any_case() -> None:
    shown = basic(KEYS.postmark).replace("Basic", "basic")
    await Postmark(KEYS.postmark).admit(Post({"authorization": shown}, b"{}"))


async def test_each_byte_of_a_post_of_sendgrid_is_signed() -> None:
    provider, post = providers()["sendgrid"], genuine("sendgrid")
    for place in range(len(post.body)):
        body = bytearray(post.body)
        body[place] ^= 1
        assert await refuses(provider, Post(post.headers, bytes(body)))
    assert await refuses(provider, Post(post.headers, post.body + b"\n"))
    for name, value in post.headers.items():
        for place in range(len(value.rstrip("="))):
            assert await refuses(
                provider, Post(dict(post.headers) | {name: changed(value, place)}, post.body)
            )


async def test_each_character_that_mailgun_signs_is_looked_at() -> None:
    provider, post = providers()["mailgun"], genuine("mailgun")
    document = json.loads(post.body)
    signature = document["signature"]
    for name, value in signature.items():
        for place in range(len(value)):
            document["signature"] = signature | {name: changed(value, place)}
            assert await refuses(provider, Post({}, json.dumps(document).encode()))
    # A digit that moves from one to the other leaves what is signed as it is.
    time_, token = signature["timestamp"], signature["token"]
    document["signature"] = signature | {"timestamp": time_[:-1], "token": time_[-1] + token}
    assert await refuses(provider, Post({}, json.dumps(document).encode()))


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
async def test_each_character_that_sns_signs_is_looked_at(version: str, kind: str) -> None:
    sns = Sns()
    provider = ses(sns)
    more: dict[str, Any] = (
        {"SubscribeURL": SUBSCRIBE_URL, "Token": "2336412f37"} if kind != "Notification" else {"Subject": "S"}
    )
    message = json.loads(KEYS.of_sns(version, Type=kind, Message="A word, and\nanother line.", **more))
    await provider.admit(Post({}, json.dumps(message).encode()))
    sns.visited.clear()
    for name in ("Message", "MessageId", "Timestamp", "TopicArn", "Type", "Signature", *more):
        for place in range(len(message[name].rstrip("="))):
            other = message | {name: changed(message[name], place)}
            assert await refuses(provider, Post({}, json.dumps(other).encode()))
    for name in set(message):
        without = {other: value for other, value in message.items() if other != name}
        assert await refuses(provider, Post({}, json.dumps(without).encode()))
    # Neither did a message that is not genuine lead anywhere.
    assert sns.visited == []


async def test_what_sns_signs_in_one_way_is_not_proven_in_the_other() -> None:
    for version, other in (("1", "2"), ("2", "1"), ("2", "3"), ("1", "")):
        message = json.loads(KEYS.of_sns(version)) | {"SignatureVersion": other}
        assert await refuses(ses(Sns()), Post({}, json.dumps(message).encode()))


@pytest.mark.parametrize(
    "arn",
    [TOPIC.replace("mail-feedback", "other"), TOPIC.replace("eu-west-1", "us-east-1"), f"{TOPIC}\n", ""],
)
async def test_a_topic_that_is_not_ours_is_refused_and_nothing_is_fetched_for_it(arn: str) -> None:
    sns = Sns()
    assert await refuses(ses(sns), Post({}, KEYS.of_sns(TopicArn=arn)))
    message = KEYS.of_sns(
        TopicArn=arn, Type="SubscriptionConfirmation", SubscribeURL=SUBSCRIBE_URL, Token="t"
    )
    assert await refuses(ses(sns), Post({}, message))
    assert sns.visited == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://{SNS_HOST}{CERTIFICATE_PATH}",
        f"https://sns.us-east-1.amazonaws.com{CERTIFICATE_PATH}",
        f"https://sns.eu-west-1.amazonaws.com.evil.test{CERTIFICATE_PATH}",
        f"https://evil.test{CERTIFICATE_PATH}",
        f"https://evil.test/{SNS_HOST}{CERTIFICATE_PATH}",
        f"https://{SNS_HOST}:8443{CERTIFICATE_PATH}",
        f"https://{SNS_HOST}@evil.test{CERTIFICATE_PATH}",
        f"https://evil.test#@{SNS_HOST}{CERTIFICATE_PATH}",
        f"https://{SNS_HOST}.{CERTIFICATE_PATH}",
        f"https://{SNS_HOST.upper()}{CERTIFICATE_PATH}",
        f"https://{SNS_HOST}/?Action=Publish&x=.pem",
        f"https://{SNS_HOST}{CERTIFICATE_PATH}?x=1",
        f"https://{SNS_HOST}{CERTIFICATE_PATH}#x",
        f"https://{SNS_HOST}/../{CERTIFICATE_PATH}",
        f"https://{SNS_HOST}/mine/x.pem",
        f"https://{SNS_HOST}/x.pem",
        f"https://s3.eu-west-1.amazonaws.com{CERTIFICATE_PATH}",
        f"https://bucket.s3.amazonaws.com{CERTIFICATE_PATH}",
        f"https://{SNS_HOST}{CERTIFICATE_PATH}\r\nHost: evil.test",
        f"file://{CERTIFICATE_PATH}",
        "https://[::1]/x.pem",
        "",
    ],
)
async def test_a_certificate_from_anywhere_but_the_topics_own_host_is_not_even_fetched(url: str) -> None:
    sns = Sns()
    assert await refuses(ses(sns), Post({}, KEYS.of_sns(SigningCertURL=url)))
    assert sns.visited == []


async def test_a_certificate_that_is_not_good_proves_nothing() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    certificates = [
        KEYS.certificate(lasts=timedelta(seconds=-1)),
        KEYS.certificate("sns.evil.test"),
        KEYS.certificate("evil-sns.amazonaws.com"),
        KEYS.certificate("ec2.amazonaws.com"),
        KEYS.certificate(key=ec.generate_private_key(ec.SECP256R1())),
        KEYS.certificate(key=small),
        KEYS.certificate(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        b"no certificate",
    ]
    for certificate in certificates:
        assert await refuses(ses(Sns(certificate)), Post({}, KEYS.of_sns()))


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws:sns:us-east-1:123456789012:a", "sns.us-east-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:a", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:a", "sns.us-gov-west-1.amazonaws.com"),
    ],
)
def test_the_host_of_a_topic_is_that_of_its_region(arn: str, host: str) -> None:
    assert Topic.parse(arn).host == host


@pytest.mark.parametrize(
    "arn",
    ["", "arn:aws:sqs:us-east-1:123456789012:a", "arn:aws:sns:evil.test/:123456789012:a", f"{TOPIC} ", "a:b"],
)
def test_what_is_no_topic_is_no_setting(arn: str) -> None:
    with pytest.raises(ValueError, match="ARN of an SNS topic"):
        Topic.parse(arn)


async def test_a_certificate_is_fetched_once() -> None:
    sns = Sns()
    provider = ses(sns)
    for _ in range(3):
        await provider.admit(Post({}, KEYS.of_sns()))
    assert sns.visited == [CERTIFICATE_URL]


async def test_a_subscription_of_our_topic_is_confirmed() -> None:
    sns = Sns()
    message = KEYS.of_sns(Type="SubscriptionConfirmation", SubscribeURL=SUBSCRIBE_URL, Token="2336412f37")
    await ses(sns).admit(Post({}, message))
    assert sns.visited == [CERTIFICATE_URL, SUBSCRIBE_URL]


@pytest.mark.parametrize(
    "url",
    [
        SUBSCRIBE_URL.replace(SNS_HOST, "evil.test"),
        SUBSCRIBE_URL.replace("https", "http"),
        SUBSCRIBE_URL.replace(SNS_HOST, f"{SNS_HOST}@evil.test"),
        SUBSCRIBE_URL.replace("ConfirmSubscription", "DeleteTopic"),
        f"{SUBSCRIBE_URL}&Action=DeleteTopic",
        SUBSCRIBE_URL.replace("mail-feedback", "other"),
        SUBSCRIBE_URL.replace("/?", "/elsewhere?"),
        "",
    ],
)
async def test_even_a_signed_confirmation_leads_nowhere_else(url: str) -> None:
    sns = Sns()
    message = KEYS.of_sns(Type="SubscriptionConfirmation", SubscribeURL=url, Token="2336412f37")
    assert await refuses(ses(sns), Post({}, message))
    assert sns.visited == [CERTIFICATE_URL]


async def test_what_was_signed_long_ago_or_is_to_come_is_refused() -> None:
    sendgrid, mailgun = providers()["sendgrid"], providers()["mailgun"]
    body = post_named("mailgun", "no_such_user").filled()
    hour, now = 3600, time.time()
    for at, admitted in ((now - 24 * hour, True), (now - 26 * hour, False), (now + hour, False)):
        assert await refuses(sendgrid, KEYS.of_sendgrid(b"[]", at)) is not admitted
    for at, admitted in ((now - 8 * hour, True), (now - 10 * hour, False), (now + hour, False)):
        assert await refuses(mailgun, KEYS.of_mailgun(body, at)) is not admitted
    moment = datetime.now(UTC)
    for ago, admitted in (
        (timedelta(hours=2), True),
        (timedelta(hours=25), False),
        (-timedelta(hours=1), False),
    ):
        assert await refuses(ses(Sns()), Post({}, KEYS.of_sns(at=moment - ago))) is not admitted


async def test_the_key_of_another_proves_nothing() -> None:
    other: dict[str, Any] = {
        "mailgun": Mailgun(Secret("another key")),
        "sendgrid": SendGrid(Keys().sendgrid_public),
        "postmark": Postmark(Secret("postmark:another")),
        "brevo": Brevo(Secret("another")),
    }
    for name, provider in other.items():
        assert await refuses(provider, genuine(name))
