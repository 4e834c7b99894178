"""Persons and programs, by what they call themselves."""

import pytest

from services.sending.tracking.agents import Kind, bot_rule

PERSONS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0",
    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; Microsoft Outlook 16.0.17628; ms-office)",
]


@pytest.mark.parametrize("agent", PERSONS)
@pytest.mark.parametrize("kind", Kind)
def test_mail_programs_and_browsers_are_persons(kind: Kind, agent: str) -> None:
    assert not bot_rule(kind, agent, head_only=False)


@pytest.mark.parametrize("kind", Kind)
def test_nobody_is_a_person_who_asks_for_headers_alone(kind: Kind) -> None:
    assert bot_rule(kind, PERSONS[0], head_only=True) == "head_only"


@pytest.mark.parametrize(
    ("kind", "agent", "rule"),
    [
        # Loads pictures when a person reads; a person's click comes from their own browser.
        (
            Kind.OPENED,
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            "",
        ),
        (Kind.OPENED, "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", ""),
        (Kind.OPENED, "Mozilla/5.0", "apple_mail_privacy"),
        (Kind.CLICKED, "Mozilla/5.0", ""),
        (Kind.CLICKED, "", "no_user_agent"),
        (Kind.CLICKED, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler"),
        (Kind.CLICKED, "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "link_preview"),
        (Kind.CLICKED, "facebookexternalhit/1.1", "link_preview"),
        (Kind.CLICKED, "Barracuda Sentinel (EE)", "security_scanner"),
        (Kind.OPENED, "python-requests/2.32.3", "program"),
        (Kind.CLICKED, "Go-http-client/1.1", "program"),
        (Kind.CLICKED, "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/131.0.0.0 Safari/537.36", "program"),
    ],
)
def test_programs_are_known_by_their_names(kind: Kind, agent: str, rule: str) -> None:
    assert bot_rule(kind, agent, head_only=False) == rule
