"""Tokens of pixels and links: short, genuine or nothing."""

from base64 import b64encode
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import NotFound
from chassis.secret import Secret
from services.sending.tracking.links import MOST_LINKS, TrackingLinks
from services.sending.unsubscribe_links import UnsubscribeLinks

KEYS = [Secret(b64encode(bytes([letter]) * 32).decode()) for letter in b"ab"]
LINKS = TrackingLinks(KEYS, "https://mail.test")


@given(st.uuids(), st.uuids(), st.uuids(), st.integers(1, MOST_LINKS))
def test_a_link_tells_what_it_was_made_of_in_eighty_characters(
    organization: UUID, campaign: UUID, message: UUID, number: int
) -> None:
    token = (LINKS.link(number) + LINKS.token(organization, campaign, message)).rpartition("/")[2]
    assert len(token) == 80
    tracked, told = LINKS.clicked(token)
    assert (tracked.context.organization, tracked.mailing_id, tracked.message_id, told) == (
        organization,
        campaign,
        message,
        number,
    )
    assert LINKS.opened(token[2:]) == tracked


def test_a_token_that_was_changed_anywhere_is_no_token() -> None:
    token = LINKS.token(uuid4(), uuid4(), uuid4())
    for place, character in enumerate(token):
        forged = token[:place] + ("A" if character != "A" else "B") + token[place + 1 :]
        with pytest.raises(NotFound):
            LINKS.opened(forged)
        with pytest.raises(NotFound):
            LINKS.clicked("AB" + forged)
    for text in ("", "A", token[:-1], token + "A"):
        with pytest.raises(NotFound):
            LINKS.opened(text)
        with pytest.raises(NotFound):
            LINKS.clicked(text)


def test_a_token_of_another_purpose_is_none_of_ours() -> None:
    way_out = UnsubscribeLinks(KEYS, "https://mail.test").url(uuid4(), uuid4(), b"d" * 32).rpartition("/")[2]
    with pytest.raises(NotFound):
        LINKS.opened(way_out)


def test_links_survive_a_new_key() -> None:
    token = LINKS.token(uuid4(), uuid4(), uuid4())
    assert TrackingLinks(KEYS[::-1], "https://mail.test").opened(token) == LINKS.opened(token)
