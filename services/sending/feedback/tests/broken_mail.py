"""Mails of the corpus, broken in ways that hypothesis chooses."""

import os
from base64 import b32encode

from hypothesis import strategies as st

from services.sending.feedback.tests.labelled_mail import corpus

# How many `make fuzz` sends; without it, few enough for the suite.
MAILS = int(os.environ.get("FUZZ_MAILS", "0"))

_CONTENTS = [mail.content for mail in corpus()]
# What parsers stumble over, beside any bytes.
_SCRAPS = [
    b"\x00",
    b"\xff\xfe",
    b"\r",
    b"\n\n",
    b"\r\n.\r\n",
    b"--",
    b'"',
    b"=?utf-8?B?",
    b"=?x-none?Q?=FF?=",
    b"=?iso-2022-jp?B?GyRC?=",
    b"Content-Type: multipart/report; boundary=\n",
    b"Content-Type: message/delivery-status\n\n",
    b"Content-Type: text/plain; charset*=x''%FF\n",
    b"Content-Transfer-Encoding: base64\n\n",
    b"Content-Transfer-Encoding: uuencode\n\nbegin 644 x\n",
    b"Status: 5.1.1\nAction: failed\n",
    b"550 5.1.1 user unknown\n",
]
_SCRAP = st.sampled_from(_SCRAPS) | st.binary(max_size=20)
_PLACE = st.floats(0, 1)


@st.composite
def broken_mail(draw: st.DrawFn) -> bytes:
    """A mail with up to eight cuts, repetitions, pieces of another one, and scraps."""
    content = draw(st.sampled_from(_CONTENTS))
    for _ in range(draw(st.integers(0, 8))):
        first, second = sorted(int(draw(_PLACE) * len(content)) for _ in range(2))
        match draw(st.sampled_from(["cut", "repeat", "graft", "scrap"])):
            case "cut":
                content = content[:first] + content[second:]
            case "repeat":
                content = content[:second] + content[first:]
            case "graft":
                other = draw(st.sampled_from(_CONTENTS))
                content = content[:first] + other[int(draw(_PLACE) * len(other)) :] + content[second:]
            case _:
                content = content[:first] + draw(_SCRAP) + content[first:]
    return content[:200_000]


def forged_tokens(genuine: str) -> st.SearchStrategy[str]:
    """Local parts that are not the genuine one: it with other letters in some places, cut, or made up."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    changed = st.lists(
        st.tuples(st.integers(0, len(genuine) - 1), st.sampled_from(letters)), min_size=1, max_size=4
    ).map(lambda changes: _with(genuine, changes))
    made_up = st.binary(min_size=40, max_size=40).map(lambda raw: b32encode(raw).decode().lower())
    cut = st.integers(0, len(genuine) - 1).map(lambda length: genuine[:length])
    return (changed | made_up | cut).filter(lambda token: token != genuine)


def _with(token: str, changes: list[tuple[int, str]]) -> str:
    letters = list(token)
    for place, letter in changes:
        letters[place] = letter
    return "".join(letters)
