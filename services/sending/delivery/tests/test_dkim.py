"""What is signed verifies with a verifier of somebody else's, and no longer once it is touched."""

from collections.abc import Mapping
from uuid import uuid4

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sending.delivery.dkim import SigningKey, signatures
from services.sending.delivery.mime import Addressee, Sender, Skeleton
from services.sending.dkim_keys import Algorithm, KeyPair, load, published, strings
from services.sending.opt_out_footer import OptingOut
from services.sending.templating.mailing import Mailing

PAIRS = {algorithm: KeyPair.generate(algorithm) for algorithm in Algorithm}
KEYS = [SigningKey("shop.test", f"s-{name}", load(pair.private_der)) for name, pair in PAIRS.items()]
DNS: Mapping[bytes, bytes] = {
    f"s-{name}._domainkey.shop.test.".encode(): published(name, pair.public).encode()
    for name, pair in PAIRS.items()
}
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=200)


def lookup(name: bytes, timeout: int = 5) -> bytes:
    return DNS[name]


def verified(mail: bytes) -> list[bool]:
    """Whether each of the signatures is good."""

    def is_good(number: int) -> bool:
        try:
            return bool(dkim.DKIM(mail).verify(number, dnsfunc=lookup))
        except dkim.ValidationError:
            return False

    return [is_good(number) for number in range(len(KEYS))]


def signed(name: str, subject: str, html: str, text: str, *, links: bool = True) -> tuple[bytes, bytes]:
    """The signatures, and the mail."""
    skeleton = Skeleton(Sender(name, "news@shop.test"), Mailing.verbatim(subject, html, text), "mail.test")
    ways = OptingOut("https://mail.test/u/x", "https://mail.test/p/x", "leave@mail.test") if links else None
    mail = skeleton.mail(Addressee(uuid4(), "reader@example.com", {}, ways))
    return signatures(KEYS, mail.header, mail.body, now=1_790_000_000), mail.content


@settings(max_examples=60)
@given(words, words, words, words, st.booleans())
def test_whatever_a_mail_says_its_signatures_verify(
    name: str, subject: str, html: str, text: str, links: bool
) -> None:
    fields, mail = signed(name, subject, html, text, links=links)
    assert verified(fields + mail) == [True, True]
    assert max(map(len, fields.split(b"\r\n"))) <= 200


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"news@shop.test", b"evil@shop.test"),
        (b"List-Unsubscribe: <https://mail.test/u/x>", b"List-Unsubscribe: <https://evil.test/u/x>"),
        (b"<mailto:leave@mail.test", b"<mailto:leave@evil.test"),
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
        (b"Hello", b"Hallo"),
        (b"Subject: Hi", b"Subject: Ho"),
        (b"From: ", b"From: evil@evil.test\r\nFrom: "),
    ],
)
def test_what_is_touched_does_not_verify(there: bytes, instead: bytes) -> None:
    fields, mail = signed("Ada", "Hi", "<p>Hello</p>", "Hello")
    assert there in mail
    assert verified(fields + mail) == [True, True]
    assert verified(fields + mail.replace(there, instead)) == [False, False]


def test_a_public_key_is_published_in_strings_that_fit() -> None:
    text = published(Algorithm.RSA, PAIRS[Algorithm.RSA].public)
    assert "".join(strings(text)) == text
    assert [len(part) <= 255 for part in strings(text)] == [True, True]
