"""Whatever bytes come, they can be read."""

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.local.mailbox.headers import header_text
from deploy.local.mailbox.reading import as_text, read
from deploy.local.mailbox.summary import summarize

_PIECES = st.sampled_from(
    [
        b"Subject: ", b"From: ", b"Content-Type: ", b"multipart/mixed; boundary=b", b"text/html; charset=", b"utf-8",
        b"idna", b"unknown", b"hex", b"message/rfc822", b"Content-Transfer-Encoding: ", b"base64", b"8bit", b"quoted-printable",
        b"=?utf-8?q?=C3=BC?=", b"=?utf-7?q?+2AA-?=", b"=?x?b?====?=", b"\r\n", b"\r\n\r\n", b"--b\r\n", b"--b--", b"\xff\xfe\x00", "ü€".encode(),
        b";filename*=utf-8''%ff", b"Content-Disposition: attachment", b"\n ", b": ", b"message/delivery-status",
    ]
)  # fmt: skip
_CONTENT = st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=25).map(b"".join))


@given(_CONTENT)
@example(b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-")
@example(b"Content-Type: message/rfc822\r\n\r\n\xff")
def test_any_bytes_can_be_read_and_shown(content: bytes) -> None:
    reading = read(content)
    orjson.dumps([reading.headers, reading.parts, as_text(content)])


@given(_CONTENT)
def test_any_bytes_can_be_listed(content: bytes) -> None:
    summary = summarize(content)
    orjson.dumps([summary.subject, summary.from_address])


def test_folded_and_encoded_headers_read_as_they_were_meant() -> None:
    assert header_text(b" =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_aus_Wien?= ") == "Grüße aus Wien"
    assert header_text(b" a long\r\n subject") == "a long subject"
