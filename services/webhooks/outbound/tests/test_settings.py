"""What an operator writes is what is let through, and nothing else is."""

import pytest

from chassis.settings import load
from services.webhooks.outbound.ports import PortRanges
from services.webhooks.outbound.settings import WebhookDestinationSettings


def test_without_a_word_posts_go_to_public_addresses_by_https_alone() -> None:
    settings = load(WebhookDestinationSettings)
    assert settings.webhook_https_only
    assert settings.webhook_allowed_ranges == []
    assert [port for port in range(65_536) if port in settings.webhook_ports] == [443, 8443]


def test_ports_are_numbers_and_ranges_with_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_PORTS", "80, 443,1024-65535")
    ports = load(WebhookDestinationSettings).webhook_ports
    assert str(ports) == "80,443,1024-65535"
    assert all(port in ports for port in (80, 443, 1024, 65_535))
    assert not any(port in ports for port in (0, 79, 81, 1023, 65_536))


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "443,", "9-8", "-1", "1-", "٤٤٣", "80;443"])
def test_what_are_no_ports_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be ports"):
        PortRanges.parse(text)


def test_a_range_that_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_ALLOWED_RANGES", '["10.0.0.1/8"]')
    with pytest.raises(SystemExit):
        load(WebhookDestinationSettings)
