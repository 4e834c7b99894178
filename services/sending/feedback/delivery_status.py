"""Delivery status notifications (RFC 3464, RFC 6533): what a server says of a message in fields for programs."""

import re
from dataclasses import dataclass

from services.sending.feedback.mail import Fields, Mail

_TYPES = ("message/delivery-status", "message/global-delivery-status", "message/xdelivery-status")
# Fields of a report whose MIME structure is broken, found in what it says.
_LOOSE = re.compile(
    r"^[>\s]*(Final-Recipient|Original-Recipient|Action|Status|Diagnostic-Code)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What became of a message for a recipient."""

    action: str
    status: str
    diagnostic: str
    reporter: str


def delivery_status(mail: Mail) -> DeliveryStatus | None:
    """What a notification says of its recipient, of several of the one that failed; None where it is none."""
    if (part := mail.part(*_TYPES)) is not None:
        blocks = part.blocks
    elif len(set(map(str.lower, _LOOSE.findall(text := mail.whole_text)))) >= 2:
        blocks = _loose_blocks(text)
    else:
        return None
    reporter = _without_type(next((found for block in blocks if (found := block.get("reporting-mta"))), ""))
    recipients = [_read(block, reporter) for block in blocks if "action" in block or "status" in block]
    return min(recipients, key=lambda recipient: _ACTIONS.index(recipient.action), default=None)


def _loose_blocks(text: str) -> list[Fields]:
    lines = [line.lstrip("> \t") if line[:1] == ">" else line for line in text.splitlines()]
    first = next(number for number, line in enumerate(lines) if _LOOSE.match(line))
    block: list[str] = []
    for line in lines[first:]:
        # A blank line, or the next boundary, ends what belongs together; fields before it name the recipient.
        if block and (not line.strip() or line.startswith("--")):
            break
        block.append(line.strip() if _LOOSE.match(line) else f" {line.strip()}")
    return [Fields.of("\n".join(block))]


def _read(block: Fields, reporter: str) -> DeliveryStatus:
    found = _STATUS.search(block.get("status"))
    status = found.group(0) if found else ""
    action = block.get("action").lower().split(" ")[0].rstrip(";.")
    if action not in _ACTIONS:
        action = "delivered" if status.startswith("2") else "failed"
    diagnostic = _without_type(block.get("diagnostic-code"))
    return DeliveryStatus(action, status, diagnostic, reporter)


def _without_type(value: str) -> str:
    """A value without the type before it: `smtp; 550 …`, `dns; mx.example.com` (RFC 3464 §2.1.2)."""
    before, separator, after = value.partition(";")
    return (after if separator and re.fullmatch(r"[\w -]{1,40}", before) else value).strip()
