"""What of an answer is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.secret import Secret
from services.webhooks.dispatch.scrubbing import scrubbed


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"ok", "ok"),
        (b"you sent whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "you sent ***"),
        (b'{"authorization": "Bearer abc.def-123"}', '{"authorization": "Bearer ***"}'),
        (b"token hunter22hunter22!", "token ***!"),
        (b"a\x00b\x1b[31mred\x07", "ab[31mred"),
        ("évènement".encode(), "évènement"),
        (b"\xff\xfe", ""),
    ],
)
def test_what_is_secret_or_harmful_is_left_out(body: bytes, kept: str) -> None:
    assert scrubbed(body, [Secret("hunter22hunter22")]) == kept


@given(body=st.binary(max_size=4_000))
def test_whatever_is_answered_is_kept_as_short_text_that_postgresql_takes(body: bytes) -> None:
    kept = scrubbed(body, [])
    assert len(kept) <= 1_000
    assert "\0" not in kept
    kept.encode()
