"""What posts of providers say: by status and words, never by the provider's label, and nothing at all makes reading fail."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.secret import Secret
from services.sending.feedback.origins import Origins
from services.sending.feedback.providers.directory import EVENTS
from services.sending.feedback.providers.events import Event
from services.sending.feedback.tests.posted import OPTED_OUT, Keys, Posted, post_named, posted
from services.sending.feedback.understanding import Shape
from services.sending.signed_addresses import CarriedTokens, ReturnPaths, UnsubscribeAddresses

POSTS = list(posted())
LINK_KEYS = [Secret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")]
ORGANIZATION, MESSAGE = UUID(int=7), UUID(int=8)
PLACES = {
    "token": CarriedTokens(LINK_KEYS).token(ORGANIZATION, MESSAGE),
    "return_path": ReturnPaths(LINK_KEYS).address(ORGANIZATION, MESSAGE, "mail.test"),
    "unsubscribe_address": UnsubscribeAddresses(LINK_KEYS).address(ORGANIZATION, MESSAGE, "mail.test"),
}
KEYS = Keys()
ORIGINS = Origins(LINK_KEYS)


def told(post: Posted, **places: str) -> list[Event]:
    """The events of a post as it comes."""
    return list(EVENTS[post.provider](KEYS.genuine(post, **(PLACES | places)).body))


def said(event: Event) -> str:
    if event.finding.opts_out:
        return OPTED_OUT
    return event.finding.kind.value if event.finding.counts else ""


@pytest.mark.parametrize("post", POSTS, ids=lambda post: f"{post.provider}-{post.name}")
def test_a_post_says_what_its_label_says_of_the_message_that_it_names(post: Posted) -> None:
    events = told(post)
    assert tuple(filter(None, map(said, events))) == post.says
    for event in events:
        assert event.finding.shape is Shape.PROVIDER
        assert ORIGINS.of_event(event.carried, event.addresses) == [(ORGANIZATION, MESSAGE)]
    if post.status:
        assert [event.finding.enhanced_status for event in events] == [post.status]


@pytest.mark.parametrize("provider", EVENTS)
def test_every_provider_has_posts_of_each_sort(provider: str) -> None:
    kinds = {kind for post in POSTS if post.provider == provider for kind in post.says}
    assert kinds >= {"hard", "soft", "block", "complaint", OPTED_OUT}


@pytest.mark.parametrize("post", POSTS, ids=lambda post: f"{post.provider}-{post.name}")
def test_without_a_genuine_token_a_post_is_about_nothing(post: Posted) -> None:
    # What is made for one purpose serves no other.
    forged = {
        "token": PLACES["return_path"].partition("@")[0],
        "return_path": f"{PLACES['token']}@mail.test",
        "unsubscribe_address": f"{PLACES['token']}@mail.test",
    }
    tampered = {
        name: f"{value[:60]}{'b' if value[60] == 'a' else 'a'}{value[61:]}" for name, value in PLACES.items()
    }
    for places in (forged, tampered):
        for event in told(post, **places):
            assert ORIGINS.of_event(event.carried, event.addresses) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def _replaced(document: Any, places: list[int], value: Any) -> Any:
    """The document with something else at some place in it."""
    if not places or not isinstance(document, dict | list) or not document:
        return value
    names = list(document) if isinstance(document, dict) else list(range(len(document)))
    changed = document.copy()
    name = names[places[0] % len(names)]
    changed[name] = _replaced(document[name], places[1:], value)
    return changed


@given(st.sampled_from(POSTS), st.lists(st.integers(0, 9), max_size=4), JSON)
def test_no_post_makes_reading_fail_whatever_stands_where(
    post: Posted, places: list[int], value: Any
) -> None:
    broken = _replaced(post.document, places, value)
    text = json.dumps(broken)
    for body in (text, json.dumps({"Message": text}), json.dumps({"Message": broken})):
        for event in EVENTS[post.provider](body.encode(errors="replace")):
            assert len(event.finding.diagnosis) <= 500
            assert event.finding.diagnosis.isprintable()
            assert event.finding.rule.isprintable()
            assert len(event.finding.reporter) <= 255
            ORIGINS.of_event(event.carried, event.addresses)


@pytest.mark.parametrize("provider", EVENTS)
@given(
    body=st.binary()
    | st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"[[]]", b""])
)
def test_bytes_of_any_kind_say_nothing(provider: str, body: bytes) -> None:
    assert list(EVENTS[provider](body)) == []


def test_a_label_alone_never_calls_an_address_bad() -> None:
    for provider, name in (
        ("ses", "permanent_without_a_reason"),
        ("postmark", "hard_without_a_reason"),
        ("sendgrid", "bounce_without_a_reason"),
        ("mailgun", "permanent_without_a_reason"),
        ("brevo", "hard_without_a_reason"),
    ):
        (event,) = told(post_named(provider, name))
        assert (event.finding.kind, event.finding.rule) == ("soft", "called_permanent")
