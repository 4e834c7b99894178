"""Signed links: only what was signed opens, only for its purpose, in its organization."""

from base64 import b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.context import ActorKind
from chassis.errors import NotFound
from chassis.links import LinkSigner
from chassis.secret import Secret


def key(byte: int) -> Secret:
    return Secret(b64encode(bytes([byte] * 32)).decode())


ORGANIZATION = UUID("01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f")
SIGNER = LinkSigner([key(1)])


@given(st.uuids(), st.binary(max_size=64), st.text())
def test_a_signed_link_opens_to_its_organization_and_payload(
    organization_id: UUID, payload: bytes, purpose: str
) -> None:
    context, opened = SIGNER.open(purpose, SIGNER.sign(purpose, organization_id, payload))
    assert (context.organization, opened) == (organization_id, payload)
    assert context.actor_kind is ActorKind.ANONYMOUS


@given(st.binary(max_size=32), st.data())
def test_every_change_of_one_character_is_refused(payload: bytes, data: st.DataObject) -> None:
    token = SIGNER.sign("unsubscribe", ORGANIZATION, payload)
    position = data.draw(st.integers(0, len(token) - 1))
    replacement = data.draw(st.characters().filter(lambda character: character != token[position]))
    with pytest.raises(NotFound):
        SIGNER.open("unsubscribe", token[:position] + replacement + token[position + 1 :])


def test_every_character_of_base64_in_every_place_is_refused() -> None:
    token = SIGNER.sign("unsubscribe", ORGANIZATION, b"\x00" * 16)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
    for position, original in enumerate(token):
        for replacement in alphabet:
            if replacement != original:
                with pytest.raises(NotFound):
                    SIGNER.open("unsubscribe", token[:position] + replacement + token[position + 1 :])


@given(st.text(max_size=600))
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(NotFound):
        SIGNER.open("unsubscribe", token)


@given(st.integers(1, 200))
def test_a_cut_or_padded_token_is_refused(length: int) -> None:
    token = SIGNER.sign("unsubscribe", ORGANIZATION, b"payload")
    for other in (token[: -min(length, len(token))], token + "A" * length, token + "=" * length):
        with pytest.raises(NotFound):
            SIGNER.open("unsubscribe", other)


@given(st.text(), st.text())
def test_a_link_opens_nothing_but_its_purpose(purpose: str, other: str) -> None:
    token = SIGNER.sign(purpose, ORGANIZATION, b"")
    if other != purpose:
        with pytest.raises(NotFound):
            SIGNER.open(other, token)


def test_links_of_a_rotated_key_still_open_and_new_ones_use_the_first() -> None:
    old = SIGNER.sign("unsubscribe", ORGANIZATION, b"")
    rotated = LinkSigner([key(2), key(1)])
    rotated.open("unsubscribe", old)
    assert rotated.sign("unsubscribe", ORGANIZATION, b"") == LinkSigner([key(2)]).sign(
        "unsubscribe", ORGANIZATION, b""
    )


def test_a_link_of_a_key_that_was_withdrawn_is_refused() -> None:
    with pytest.raises(NotFound):
        LinkSigner([key(2)]).open("unsubscribe", SIGNER.sign("unsubscribe", ORGANIZATION, b""))


@pytest.mark.parametrize("keys", [[], [Secret("c2hvcnQ=")]])
def test_a_signer_without_a_good_key_is_not_made(keys: list[Secret]) -> None:
    with pytest.raises(ValueError, match="key"):
        LinkSigner(keys)
